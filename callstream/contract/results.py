"""A TaskResult as it is written: its entries are JSON already."""

from collections.abc import Iterable
from datetime import datetime

import msgspec


class WrittenTimes(msgspec.Struct, frozen=True):
    received: datetime
    started: datetime
    finished: datetime


class WrittenResult(msgspec.Struct, frozen=True):
    """What `TaskResult` describes, field by field."""

    task_id: str
    task: str
    callback_url: str | None
    results: list[msgspec.Raw]
    errors: list[msgspec.Raw]
    times: WrittenTimes

    def json(self) -> bytes:
        return msgspec.json.encode(self)


def raw(entries: Iterable[bytes]) -> list[msgspec.Raw]:
    return [msgspec.Raw(entry) for entry in entries]


def error_entry(name: str, text: str) -> bytes:
    """Return an entry of `errors`; lone surrogates, which JSON does not have, are written out."""
    return msgspec.json.encode({_written(name): _written(text)})


def _written(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
