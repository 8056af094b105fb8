"""Each receiver has a bulkhead and a breaker of its own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from stream_app import receivers as module
from stream_app.outcome import Delivered, Failed, Forbidden, Outcome, Refused, Throttled, Unreachable
from stream_app.receivers import Busy, Limits, Receivers

PAUSES = [timedelta(seconds=5), timedelta(seconds=30)]
LIMITS = Limits(in_flight=10, queue=3, total=1_000, failures=3, pauses=PAUSES)
KEY = "https://receiver.example:443"


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **by: float) -> None:
        self.now += timedelta(**by)


class Bench:
    """Receivers, a clock, and attempts that end when they are told to."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.clock = Clock()
        self.receivers = Receivers(limits, self.clock)
        self.under_way: list[asyncio.Future[Outcome]] = []
        self._tasks: list[asyncio.Task[Outcome | Busy]] = []

    async def answer(self, outcome: Outcome, key: str = KEY, *, may_probe: bool = True) -> Outcome | Busy:
        """Ask a receiver that answers `outcome` at once."""

        async def attempt() -> Outcome:
            return outcome

        return await self.receivers.ask(key, attempt, may_probe=may_probe)

    async def hang(self, key: str = KEY, count: int = 1) -> list[asyncio.Task[Outcome | Busy]]:
        """Ask a receiver that does not answer yet."""

        async def attempt() -> Outcome:
            future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
            self.under_way.append(future)
            return await future

        tasks = [asyncio.ensure_future(self.receivers.ask(key, attempt, may_probe=True)) for _ in range(count)]
        self._tasks += tasks
        await settle()
        return tasks

    async def prove(self, key: str = KEY, times: int = 20) -> None:
        for _ in range(times):
            assert await self.answer(Delivered(200), key) == Delivered(200)

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@asynccontextmanager
async def bench(limits: Limits = LIMITS) -> AsyncIterator[Bench]:
    made = Bench(limits)
    try:
        yield made
    finally:
        await made.end()


async def test_at_a_receiver_that_answers_quickly_many_may_wait_but_no_more_than_half_of_all() -> None:
    async with bench() as b:
        await b.prove()
        most = LIMITS.in_flight + LIMITS.total // 2
        tasks = await b.hang(count=most + 2)
        assert len(b.under_way) == LIMITS.in_flight
        turned_away = [task.result() for task in tasks if task.done()]
        assert [busy.away for busy in turned_away if isinstance(busy, Busy)] == [False, False]


async def test_at_a_receiver_that_takes_its_time_only_those_wait_whose_turn_comes_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0

    def later() -> float:
        nonlocal now
        now += 3  # seconds that each attempt takes
        return now

    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=later))
    async with bench() as b:
        await b.prove()
        tasks = await b.hang(count=40)
        assert len(b.under_way) == LIMITS.in_flight
        queued = len([task for task in tasks if not task.done()]) - LIMITS.in_flight
        assert 0 < queued < 15


async def test_a_receiver_that_never_answered_gets_less_and_counts_as_away() -> None:
    async with bench() as b:
        tasks = await b.hang(count=20)
        assert len(b.under_way) == 8
        turned_away = [task.result() for task in tasks if task.done()]
        assert [busy.away for busy in turned_away if isinstance(busy, Busy)] == [True] * (20 - 8 - LIMITS.queue)


async def test_the_queue_goes_on_in_order_when_there_is_room() -> None:
    async with bench() as b:
        await b.prove()
        tasks = await b.hang(count=LIMITS.in_flight + 2)
        for number, future in enumerate(b.under_way[:2]):
            future.set_result(Delivered(200 + number))
        await settle()
        assert len(b.under_way) == LIMITS.in_flight + 2
        assert [task.done() for task in tasks[:3]] == [True, True, False]


async def test_who_is_queued_for_too_long_is_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST_QUEUED", timedelta(milliseconds=10))
    async with bench() as b:
        tasks = await b.hang(count=10)
        await asyncio.wait(tasks[8:], timeout=5)
        assert [type(task.result()) for task in tasks[8:]] == [Busy, Busy]
        assert not any(task.done() for task in tasks[:8])
        assert {state.queued for state in b.receivers.states().values()} == {0}


async def test_room_that_comes_free_as_a_queued_one_is_cancelled_goes_to_the_next() -> None:
    async with bench() as b:
        tasks = await b.hang(count=10)
        b.under_way[0].set_result(Delivered(200))
        tasks[8].cancel()
        await settle()
        assert tasks[8].cancelled()
        assert len(b.under_way) == 9


async def test_another_receiver_does_not_notice() -> None:
    async with bench() as b:
        await b.hang("http://slow.example:80", count=100)
        assert await b.answer(Delivered(200)) == Delivered(200)


async def test_receivers_that_hang_leave_half_of_the_room_to_those_that_answer() -> None:
    limits = Limits(in_flight=10, queue=3, total=40, failures=3, pauses=PAUSES)
    async with bench(limits) as b:
        await b.prove()
        for number in range(100):
            await b.hang(f"http://slow-{number}.example:80", count=20)
        assert len(b.under_way) <= limits.total // 2
        assert await b.answer(Delivered(200)) == Delivered(200)
        for future in b.under_way:
            future.set_result(Unreachable("no answer within 15 s"))
        await settle()
        assert await b.answer(Delivered(200), "http://new.example:80") == Delivered(200)


@pytest.mark.parametrize("failure", [Failed(500), Throttled(429), Unreachable("refused")])
async def test_failures_in_a_row_open_the_breaker(failure: Outcome) -> None:
    async with bench() as b:
        for _ in range(LIMITS.failures):
            assert await b.answer(failure) == failure
        busy = await b.answer(Delivered(200))
        assert isinstance(busy, Busy)
        assert busy.until == b.clock.now + PAUSES[0]
        assert await b.answer(Delivered(200), "http://other.example:80") == Delivered(200)


@pytest.mark.parametrize("outcome", [Failed(404), Failed(302), Refused(), Forbidden("10.0.0.1"), Delivered(200)])
async def test_what_says_nothing_about_the_receiver_does_not_open_it(outcome: Outcome) -> None:
    async with bench() as b:
        for _ in range(3 * LIMITS.failures):
            assert await b.answer(outcome) == outcome


async def test_an_answer_in_between_begins_the_count_anew() -> None:
    async with bench() as b:
        for _ in range(5):
            for _ in range(LIMITS.failures - 1):
                await b.answer(Failed(500))
            assert await b.answer(Delivered(200)) == Delivered(200)


async def opened(b: Bench) -> None:
    for _ in range(LIMITS.failures):
        await b.answer(Failed(500))


async def test_an_open_breaker_lets_one_probe_at_a_time_through_and_its_answer_decides() -> None:
    async with bench() as b:
        await opened(b)
        b.clock.advance(seconds=5)
        (probe,) = await b.hang()
        busy = await b.answer(Delivered(200))
        assert isinstance(busy, Busy)
        assert busy.until == b.clock.now + PAUSES[1]
        b.under_way[0].set_result(Delivered(200))
        assert await probe == Delivered(200)
        assert await b.answer(Delivered(200)) == Delivered(200)


async def test_a_probe_that_fails_opens_it_for_longer_up_to_the_longest_pause() -> None:
    async with bench() as b:
        await opened(b)
        for pause in [PAUSES[1], PAUSES[1]]:
            b.clock.advance(minutes=1)
            assert await b.answer(Failed(500)) == Failed(500)
            busy = await b.answer(Delivered(200))
            assert isinstance(busy, Busy)
            assert busy.until == b.clock.now + pause


async def test_who_may_not_probe_waits_until_somebody_has() -> None:
    async with bench() as b:
        await opened(b)
        b.clock.advance(minutes=1)
        assert isinstance(await b.answer(Delivered(200), may_probe=False), Busy)
        await b.answer(Delivered(200))
        assert await b.answer(Delivered(200), may_probe=False) == Delivered(200)


async def test_a_probe_that_is_cancelled_leaves_its_place_to_another() -> None:
    async with bench() as b:
        await opened(b)
        b.clock.advance(minutes=1)
        (probe,) = await b.hang()
        probe.cancel()
        await settle()
        assert await b.answer(Delivered(200)) == Delivered(200)


async def test_the_queued_are_turned_away_when_the_breaker_opens() -> None:
    async with bench() as b:
        tasks = await b.hang(count=11)
        for future in b.under_way[:8]:
            future.set_result(Unreachable("no answer within 15 s"))
        await settle()
        assert len(b.under_way) == 8
        assert [type(task.result()) for task in tasks[8:]] == [Busy] * 3


async def test_after_its_return_a_receiver_gets_no_more_at_once_than_one_that_is_new() -> None:
    async with bench() as b:
        await b.prove()
        await opened(b)
        b.clock.advance(minutes=1)
        await b.answer(Delivered(200))
        await b.hang(count=30)
        assert len(b.under_way) == 9


async def test_cancelled_attempts_and_queued_ones_free_their_room() -> None:
    async with bench() as b:
        tasks = await b.hang(count=11)
        for task in tasks:
            task.cancel()
        await settle()
        await b.hang(count=8)
        assert len(b.under_way) == 16
        assert {state.queued for state in b.receivers.states().values()} == {0}


async def test_of_a_million_receivers_a_bounded_number_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_KNOWN", 100)
    async with bench() as b:
        await b.hang("http://busy.example:80")
        await opened(b)
        for number in range(1_000):
            await b.answer(Delivered(200), f"http://{number}.example:80")
        assert len(b.receivers.states()) == 100
        assert "http://999.example:80" in b.receivers.states()
        assert "http://busy.example:80" in b.receivers.states()


async def test_the_state_tells_who_is_left_alone() -> None:
    async with bench() as b:
        await opened(b)
        assert b.receivers.states()[KEY].open_until == b.clock.now + PAUSES[0]
