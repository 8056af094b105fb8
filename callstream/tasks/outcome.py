"""What becomes of one item, wherever its handler runs: a value, or a text that says why there is none."""

import asyncio
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

from pydantic import JsonValue, TypeAdapter, ValidationError

from callstream.contract.messages import Item, Json
from callstream.tasks.registry import TaskError

_json: TypeAdapter[JsonValue] = TypeAdapter(Json)


class Failed(NamedTuple):
    text: str


def failure(error: BaseException) -> Failed:
    """Return what the receiver reads of `error`."""
    if isinstance(error, TaskError):
        text = str(error)
    elif isinstance(error, asyncio.CancelledError):
        text = "the work was cancelled"
    else:
        text = traceback.format_exception_only(error)[-1].strip()
    # A text may hold lone surrogates, as the name of a file may; JSON does not.
    return Failed(text.encode("utf-8", "backslashreplace").decode())


def outcome(handler: Callable[..., Any], item: Item) -> Any:  # noqa: ANN401 - whatever a handler returns
    """Call `handler` where nothing that it raises may go further, SystemExit included."""
    try:
        return handler(item)
    except BaseException as error:  # noqa: BLE001 - a handler's bug is its item's and not the thread's
        return failure(error)


def checked(value: object) -> JsonValue | Failed:
    """Return `value` if JSON has it."""
    if isinstance(value, Failed):
        return value
    try:
        return _json.validate_python(value)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False, include_input=False)[0]["msg"]
        return failure(TaskError(f"the result is not JSON: {problem}"))
