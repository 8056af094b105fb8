"""After a receiver's return its old results come soon, wherever they wait, and new ones at once: in virtual time."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from callstream.runtime.settings import Settings
from stream_app.outcome import Delivered, Failed, Outcome, Unreachable
from tests.support.dispatcher import Dispatcher
from tests.support.virtual_time import in_virtual_time, now

START = datetime(2026, 1, 1, tzinfo=UTC)
AWAY = 60.0  # seconds
URL = "http://receiver.example/"


class Receiver:
    """It is away at first, and then answers."""

    def __init__(self, hangs: float) -> None:
        self._hangs = hangs
        self._began = now()
        self.attempts = 0
        self.delivered: dict[str, float] = {}

    @property
    def seconds(self) -> float:
        return now() - self._began

    def clock(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    async def attempt(self, url: str, body: bytes, headers: Mapping[str, str]) -> Outcome:  # noqa: ARG002
        self.attempts += 1
        if self.seconds < AWAY:
            await asyncio.sleep(self._hangs)
            return Unreachable("no answer within 15 s") if self._hangs else Failed(503)
        await asyncio.sleep(0.003)
        self.delivered[headers["webhook-id"]] = self.seconds
        return Delivered(200)


@pytest.mark.parametrize("hangs", [0.0, 15.0], ids=["it fails", "it hangs"])
@pytest.mark.parametrize("jobs", [3, 40])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_old_results_come_within_a_minute_and_fresh_ones_at_once(seed: int, jobs: int, hangs: float) -> None:
    @in_virtual_time
    async def run() -> None:
        receiver = Receiver(hangs)
        dispatcher = Dispatcher(Settings(), receiver, seed=seed, clock=receiver.clock, monotonic=now)
        old = [f"old-{number}" for number in range(jobs)]
        for task_id in old:
            dispatcher.finish(task_id, URL)
        await asyncio.sleep(AWAY + 1 + 10 * seed)
        returned = receiver.seconds
        dispatcher.finish("fresh", URL)
        await asyncio.sleep(60)
        late = {task_id: receiver.delivered.get(task_id) for task_id in old}
        assert all(at is not None and at <= AWAY + 60 for at in late.values()), late
        assert receiver.delivered["fresh"] - returned < 7, "no more than the first pause since the last probe"
        last = receiver.seconds
        dispatcher.finish("later", URL)
        await asyncio.sleep(1)
        assert receiver.delivered["later"] - last < 0.1
        assert receiver.attempts < 4 * (jobs + 2), "waiting is no attempt"
        assert dispatcher.failures == []

    run()
