"""After a receiver's return its old results come soon, wherever they wait, and new ones at once: in virtual time."""

import asyncio
import itertools
import math
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from callstream.runtime.settings import Settings
from stream_app import looks
from stream_app.outcome import Delivered, Failed, Outcome, Unreachable
from tests.support.dispatcher import Dispatcher
from tests.support.virtual_time import in_virtual_time, now

START = datetime(2026, 1, 1, tzinfo=UTC)
AWAY = 60.0  # seconds
URL = "http://receiver.example/"
SMALL = Settings.model_validate({"callbacks": {"in_flight": 200}})


class Receiver:
    """It is away at first, and then answers; others are silent."""

    def __init__(self, hangs: float, lasts: float = 0.003) -> None:
        self._hangs = hangs
        self._lasts = lasts
        self._began = now()
        self.returns = AWAY
        self.attempts = 0
        self.asked: Counter[str] = Counter()
        self.never = ""  # the task that is never taken
        self.delivered: dict[str, float] = {}

    @property
    def seconds(self) -> float:
        return now() - self._began

    def clock(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    async def attempt(self, url: str, body: bytes, headers: Mapping[str, str]) -> Outcome:  # noqa: ARG002
        if url != URL:
            await asyncio.sleep(15)
            return Unreachable("no answer within 15 s")
        self.attempts += 1
        self.asked[headers["webhook-id"]] += 1
        if self.seconds < self.returns or headers["webhook-id"] == self.never:
            await asyncio.sleep(self._hangs)
            return Unreachable("no answer within 15 s") if self._hangs else Failed(503)
        await asyncio.sleep(self._lasts)
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


@pytest.mark.parametrize(
    ("hangs", "lasts"),
    [(0.0, 1.5), (15.0, 0.02), (15.0, 1.5)],
    ids=["it fails and is late", "it hangs and is quick", "it hangs and is late"],
)
def test_so_they_do_beside_ever_other_receivers_that_are_silent(hangs: float, lasts: float) -> None:
    @in_virtual_time
    async def run() -> None:
        receiver = Receiver(hangs, lasts)
        dispatcher = Dispatcher(SMALL, receiver, clock=receiver.clock, monotonic=now)
        receiver.returns = 0.0
        for number in range(5):
            dispatcher.finish(f"before-{number}", URL)
            await asyncio.sleep(2)
        flood = asyncio.ensure_future(flood_of_silent_ones(dispatcher))
        await asyncio.sleep(15)
        receiver.returns = receiver.seconds + AWAY
        old = [f"old-{number}" for number in range(6)]
        for task_id in old:
            dispatcher.finish(task_id, URL)
            await asyncio.sleep(AWAY / len(old))
        for number in range(6):
            await asyncio.sleep(3)
            sent = receiver.seconds
            dispatcher.finish(f"fresh-{number}", URL)
            await asyncio.sleep(7 + lasts)
            assert receiver.delivered.get(f"fresh-{number}", math.inf) - sent < 7 + lasts
        late = {task_id: receiver.delivered.get(task_id, math.inf) - receiver.returns for task_id in old}
        assert max(late.values()) < 60, late
        flood.cancel()

    run()


async def flood_of_silent_ones(dispatcher: Dispatcher) -> None:
    for number in itertools.count():
        dispatcher.finish(f"silent-{number}", f"http://[2001:db8:0:{number:x}::1]/")
        await asyncio.sleep(0.25)


@in_virtual_time
async def test_however_many_wait_for_a_receiver_the_topics_are_written_at_a_bounded_rate() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(looks, "_MOST", 500)  # of which one receiver may have 100 within 30 s
        receiver = Receiver(hangs=0)
        receiver.returns = 3_600
        dispatcher = Dispatcher(Settings(), receiver, clock=receiver.clock, monotonic=now)
        for number in range(600):
            dispatcher.finish(f"old-{number}", URL)
        await asyncio.sleep(400)
        before = dispatcher.written
        await asyncio.sleep(300)
        often, seldom = 100 / 30, 600 / 300
        assert dispatcher.written - before < 300 * (often + seldom) * 1.2
        receiver.returns = receiver.seconds
        await asyncio.sleep(60 + 360)
        assert len(receiver.delivered) == 600


@in_virtual_time
async def test_those_that_were_charged_find_out_when_nobody_else_does_and_are_not_charged_for_it() -> None:
    receiver = Receiver(hangs=0)
    receiver.returns = 300  # each of the three has failed so often by then that its next attempt is minutes away
    dispatcher = Dispatcher(Settings(), receiver, clock=receiver.clock, monotonic=now)
    for number in range(3):
        dispatcher.finish(f"old-{number}", URL)
    await asyncio.sleep(360)
    assert len(receiver.delivered) == 3
    assert max(dispatcher.charged.values()) <= 5, "as the schedule has it, and no probe"


@in_virtual_time
async def test_one_that_fails_where_others_do_not_follows_the_schedule() -> None:
    receiver = Receiver(hangs=0)
    receiver.returns, receiver.never = 40, "bad"
    dispatcher = Dispatcher(Settings(), receiver, clock=receiver.clock, monotonic=now)
    for task_id in ("bad", "good-1", "good-2"):
        dispatcher.finish(task_id, URL)
    for number in range(100):
        await asyncio.sleep(10)
        dispatcher.finish(f"later-{number}", URL)
    assert {"good-1", "good-2"} < receiver.delivered.keys()
    assert receiver.asked["bad"] < 8
