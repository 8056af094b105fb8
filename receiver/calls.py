"""What came in: one call a callback."""

from collections import deque
from collections.abc import Mapping
from datetime import datetime

from pydantic import BaseModel, JsonValue
from pydantic_core import from_json

_KEPT = 1_000
_KEPT_BYTES = 2**20  # of bodies as they came; read, they may be thirty times as large


class Call(BaseModel, frozen=True):
    """One callback as it came; `body` is text where it was not JSON, `signature` what was found of it."""

    task_id: str | None
    body: JsonValue
    headers: dict[str, str]
    signature: str
    received_at: datetime


class Calls:
    """The last calls, oldest first: at most 1,000, and a MiB of bodies."""

    def __init__(self) -> None:
        self._calls: deque[tuple[Call, int]] = deque()
        self._bytes = 0

    def add(self, call: Call, size: int) -> None:
        """Keep a call whose body came in `size` bytes, and forget the oldest ones where there is no room."""
        self._calls.append((call, size))
        self._bytes += size
        while len(self._calls) > _KEPT or (self._bytes > _KEPT_BYTES and len(self._calls) > 1):
            self._bytes -= self._calls.popleft()[1]

    def all(self) -> list[Call]:
        return [call for call, _ in self._calls]

    def of(self, task_id: str) -> list[Call]:
        return [call for call, _ in self._calls if call.task_id == task_id]


def call_from(raw: bytes, headers: Mapping[str, str], signature: str, received_at: datetime) -> Call:
    body = _json_or_text(raw)
    return Call(
        task_id=_task_id(headers, body),
        body=body,
        headers=dict(headers),
        signature=signature,
        received_at=received_at,
    )


def _json_or_text(raw: bytes) -> JsonValue:
    try:
        body: JsonValue = from_json(raw, allow_inf_nan=False)
    except ValueError:
        return raw.decode(errors="replace")
    return body


def _task_id(headers: Mapping[str, str], body: JsonValue) -> str | None:
    if "webhook-id" in headers:
        return headers["webhook-id"]
    named = body.get("task_id") if isinstance(body, dict) else None
    return named if isinstance(named, str) else None
