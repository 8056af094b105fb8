"""What came in: one call a callback."""

from collections import deque
from collections.abc import Mapping
from datetime import datetime

from pydantic import BaseModel, JsonValue
from pydantic_core import from_json

_KEPT = 1_000


class Call(BaseModel, frozen=True):
    """One callback as it came; `body` is text where it was not JSON, `signature` what was found of it."""

    task_id: str | None
    body: JsonValue
    headers: dict[str, str]
    signature: str
    received_at: datetime


class Calls:
    """The last calls, oldest first."""

    def __init__(self) -> None:
        self._calls: deque[Call] = deque(maxlen=_KEPT)

    def add(self, call: Call) -> None:
        self._calls.append(call)

    def all(self) -> list[Call]:
        return list(self._calls)

    def of(self, task_id: str) -> list[Call]:
        return [call for call in self._calls if call.task_id == task_id]


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
