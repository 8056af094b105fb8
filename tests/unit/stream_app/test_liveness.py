"""A process is live as long as it goes on by itself."""

import asyncio
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from callstream.contract.records import Record, TopicPartition
from callstream.sharing.room import Room, Size
from stream_app import liveness as module
from stream_app.liveness import Liveness
from stream_app.output import patience
from stream_app.workload import Workload

REQUEST = timedelta(seconds=30)
PARTITION = TopicPartition("requests", 0)


class App:
    """Stands for the Kafka app: its consumer's thread answers, or not."""

    def __init__(self) -> None:
        self.committing = 0.0
        self.thread = asyncio.Event()
        self.thread.set()

    async def ping(self) -> None:
        await self.thread.wait()


def watched(app: Any, work: timedelta) -> tuple[Liveness, Workload, asyncio.Event]:
    """Return a workload whose records end with the event."""
    go_on = asyncio.Event()
    flow: Any = SimpleNamespace(hold=lambda _: None, release=lambda _: None)

    async def process(_: Record) -> None:
        await go_on.wait()

    workload = Workload(process, span=9, room=Room(Size(9, 2**30), lanes=1), flow=flow, fail=lambda _: None)
    return Liveness(app, workload, work, REQUEST), workload, go_on


async def test_a_record_that_never_ends_is_told_and_one_that_takes_its_time_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    work = timedelta(minutes=5)
    liveness, workload, go_on = watched(App(), work)
    now = 1_000.0
    monkeypatch.setattr("stream_app.workload.time.monotonic", lambda: now)
    assert await liveness.trouble() is None
    workload.admit(Record(PARTITION, 0, None, b"", (), 0.0))
    now += 10
    workload.admit(Record(PARTITION, 1, None, b"", (), 0.0))
    now += (work + patience(REQUEST)).total_seconds() - 10
    assert await liveness.trouble() is None
    now += 1
    assert "a record has been under way for" in str(await liveness.trouble())
    go_on.set()
    await workload.drain(5)
    assert await liveness.trouble() is None


async def test_a_consumer_that_hangs_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ANSWER", 0.01)
    app = App()
    liveness, _, _ = watched(app, timedelta(0))
    app.thread.clear()
    assert await liveness.trouble() == "the consumer's thread does not answer"
    app.thread.set()
    assert await liveness.trouble() is None


async def test_a_commit_that_does_not_return_is_told() -> None:
    app = App()
    liveness, *_ = watched(app, timedelta(minutes=5))
    app.committing = 59
    assert await liveness.trouble() is None
    app.committing = 61
    assert "a commit has been under way for 61 s" in str(await liveness.trouble())
