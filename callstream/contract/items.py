"""How many items a request has, known before any of them is built."""

import msgspec
from pydantic import ValidationError
from pydantic_core import InitErrorDetails


class _Counted(msgspec.Struct):
    message: list[msgspec.Raw]


_counter = msgspec.json.Decoder(_Counted)


def check_item_count(body: bytes, limit: int) -> None:
    """Return if the request in `body` has at most `limit` items, or is none that could be counted.

    Raises:
        ValidationError: it has more; as pydantic says it of a list.
    """
    try:
        found = len(_counter.decode(body).message)
    except (msgspec.MsgspecError, RecursionError):
        return  # the request's model says better what is wrong
    if found > limit:
        context = {"field_type": "List", "max_length": limit, "actual_length": found}
        problem = InitErrorDetails(type="too_long", loc=("message",), input={}, ctx=context)
        raise ValidationError.from_exception_data("TaskRequest", [problem], "json")
