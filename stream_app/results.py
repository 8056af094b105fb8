"""Reads a result that is to be delivered, whose entries are passed on as the JSON that came.

Built as Python objects, the entries of a result of 4 MiB can take 300 MiB, and a second in which nothing else goes on.
"""

from datetime import datetime
from typing import NamedTuple

import msgspec
from pydantic import TypeAdapter, ValidationError

from callstream.contract.dead_letters import Reason
from callstream.contract.headers import TASK_ID_LIMIT, is_task_id
from callstream.contract.messages import CallbackUrl
from callstream.contract.records import Record
from callstream.contract.sizes import cut, size_of
from stream_app.reading import UnreadableError


class Result(NamedTuple):
    """A TaskResult as far as its delivery needs it.

    `body` is that of the callback, in JSON; `size` in bytes is that of the record, as the broker counts it.
    """

    task_id: str
    callback_url: str | None
    body: bytes
    size: int


class _Times(msgspec.Struct):
    received: datetime
    started: datetime
    finished: datetime


class _Result(msgspec.Struct):
    """A TaskResult, with `results` and `errors` as they stand in the record."""

    task_id: str
    task: str
    results: msgspec.Raw
    errors: msgspec.Raw
    times: _Times
    callback_url: str | None = None


_decoder = msgspec.json.Decoder(_Result)
_encode = msgspec.json.encode
_url: TypeAdapter[str | None] = TypeAdapter(CallbackUrl | None)


def read_result(record: Record, limit: int) -> Result:
    """Return the result in `record`, which may have `limit` bytes.

    Raises:
        UnreadableError: there is no value, it is too large, or no TaskResult.
    """
    if record.value is None:
        raise UnreadableError(Reason.UNREADABLE, "the record has no value")
    if (size := size_of(record)) > limit:
        raise UnreadableError(Reason.TOO_LARGE, f"the record has {size} bytes; {limit} are allowed")
    try:
        record.value.decode()  # what is passed on is not looked at otherwise
        found = _decoder.decode(record.value)
        url = _url.validate_python(found.callback_url)
    except ValidationError as error:
        raise UnreadableError(Reason.UNREADABLE, cut(f"callback_url: {error.errors()[0]['msg']}")) from error
    except (ValueError, RecursionError) as error:
        raise UnreadableError(Reason.UNREADABLE, cut(str(error))) from error
    return Result(found.task_id, url, _body(found), size)


def _body(found: _Result) -> bytes:
    if not is_task_id(found.task_id):
        text = f"task_id: must be 1 to {TASK_ID_LIMIT} printable ASCII characters"
        raise UnreadableError(Reason.UNREADABLE, text)
    for name in ("results", "errors"):
        if not bytes(memoryview(getattr(found, name))[:1]) == b"[":
            raise UnreadableError(Reason.UNREADABLE, f"{name}: must be a list")
    parts = (b'{"results":', found.results, b',"errors":', found.errors, b',"task_id":', _encode(found.task_id), b"}")
    return b"".join(parts)
