"""Each receiver has a bulkhead, a breaker and a share of the room of its own; time is the loop's, and costs none."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from callstream.runtime.egress import dialled
from stream_app import receivers as module
from stream_app.breaker import Breaker
from stream_app.bulkhead import Bulkhead
from stream_app.outcome import Delivered, Failed, Forbidden, Outcome, Refused, Throttled, Unreachable
from stream_app.receiver import Receiver
from stream_app.receivers import LONGEST_QUEUED, Busy, Limits, Receivers
from stream_app.shares import Kind
from tests.support.virtual_time import in_virtual_time, now

MIB = 2**20
PAUSES = [timedelta(seconds=5), timedelta(seconds=30)]
LIMITS = Limits(in_flight=10, queue=3, total=1_000, size=64 * MIB, largest=4 * MIB, failures=3, pauses=PAUSES)
KEY = "https://receiver.example:443"
OK = Delivered(200)
SILENCE = Unreachable("no answer within 15 s")


class Bench:
    """Receivers, and attempts that last as long as they are told to."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.receivers = Receivers(limits, now)
        self.begun: list[str] = []
        self.most = 0  # attempts at once
        self._at_once = 0
        self._tasks: list[asyncio.Task[Outcome | Busy] | asyncio.Task[None]] = []

    async def ask(  # noqa: PLR0913 - what a call may be like
        self,
        outcome: Outcome = OK,
        key: str = KEY,
        *,
        lasts: float = 0,
        size: int = 1_000,
        fresh: bool = False,
        again: bool = False,
    ) -> Outcome | Busy:
        """Ask a receiver that answers `outcome` after `lasts` seconds."""

        async def attempt() -> Outcome:
            self.begun.append(key)
            self._at_once += 1
            self.most = max(self.most, self._at_once)
            try:
                await asyncio.sleep(lasts)
                return outcome
            finally:
                self._at_once -= 1

        return await self.receivers.ask(key, attempt, size=size, fresh=fresh, again=again)

    async def asked(
        self, outcome: Outcome = SILENCE, key: str = KEY, *, lasts: float = 15, count: int = 1, size: int = 1_000
    ) -> list[asyncio.Task[Outcome | Busy]]:
        """Begin to ask, and do not wait for the answers."""
        tasks = [asyncio.ensure_future(self.ask(outcome, key, lasts=lasts, size=size)) for _ in range(count)]
        self._tasks += tasks
        await settle()
        return tasks

    def also(self, work: Coroutine[None, None, None]) -> None:
        self._tasks.append(asyncio.ensure_future(work))

    async def prove(self, key: str = KEY, times: int = 20) -> None:
        for _ in range(times):
            assert await self.ask(OK, key) == OK

    async def open(self, key: str = KEY) -> None:
        for _ in range(LIMITS.failures):
            assert await self.ask(Failed(500), key) == Failed(500)

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def turned_away(tasks: list[asyncio.Task[Outcome | Busy]]) -> list[Busy]:
    """Return what they heard who were turned away so far."""
    return [found for task in tasks if task.done() and isinstance(found := task.result(), Busy)]


@asynccontextmanager
async def bench(limits: Limits = LIMITS) -> AsyncIterator[Bench]:
    made = Bench(limits)
    try:
        yield made
    finally:
        await made.end()


@in_virtual_time
async def test_at_a_receiver_that_answers_quickly_many_may_wait_but_never_all_that_there_is_room_for() -> None:
    async with bench() as b:
        await b.prove()
        tasks = await b.asked(OK, lasts=0.01, count=1_000)
        assert b.most == LIMITS.in_flight
        assert 300 < 1_000 - len(turned_away(tasks)) < 500
        assert {busy.away for busy in turned_away(tasks)} == {False}


@in_virtual_time
async def test_at_a_receiver_that_takes_its_time_only_those_wait_whose_turn_comes_soon() -> None:
    async with bench() as b:
        for _ in range(10):
            await b.ask(OK, lasts=3)
        tasks = await b.asked(OK, lasts=3, count=40)
        assert b.most == LIMITS.in_flight
        assert 0 < len(tasks) - len(turned_away(tasks)) - LIMITS.in_flight < 15


@in_virtual_time
async def test_a_receiver_that_never_answered_gets_less() -> None:
    async with bench() as b:
        tasks = await b.asked(count=20)
        assert len(b.begun) == 8
        assert len(turned_away(tasks)) == 20 - 8 - LIMITS.queue


@in_virtual_time
async def test_the_queue_goes_on_in_order_when_there_is_room() -> None:
    async with bench() as b:
        await b.prove()
        first = await b.asked(OK, lasts=0.5, count=2)
        rest = await b.asked(OK, lasts=0.9, count=LIMITS.in_flight)
        assert len(b.begun) == 20 + LIMITS.in_flight
        await asyncio.wait(first)
        await settle()
        assert len(b.begun) == 20 + LIMITS.in_flight + 2
        assert not any(task.done() for task in rest)


@in_virtual_time
async def test_who_is_queued_for_too_long_is_turned_away() -> None:
    async with bench() as b:
        await b.ask(OK, lasts=1.5)  # it is known to be slow, so nobody loses patience with it
        tasks = await b.asked(lasts=15, count=10)
        await asyncio.wait(tasks[9:], timeout=LONGEST_QUEUED.total_seconds())
        assert [type(task.result()) for task in tasks[9:]] == [Busy]
        assert not any(task.done() for task in tasks[:9])
        assert {state.queued for state in b.receivers.states().values()} == {0}


@in_virtual_time
async def test_room_that_comes_free_as_a_queued_one_is_cancelled_goes_to_the_next() -> None:
    async with bench() as b:
        (first,) = await b.asked(OK, lasts=0.5)
        tasks = await b.asked(lasts=0.9, count=9)
        first.add_done_callback(lambda _: tasks[7].cancel())  # the first of the queue, whose turn has just come
        await asyncio.wait([first])
        await settle()
        assert tasks[7].cancelled()
        assert len(b.begun) == 10 - 1 or not tasks[8].done()


@in_virtual_time
async def test_another_receiver_does_not_notice() -> None:
    async with bench() as b:
        await b.asked(key="http://slow.example:80", count=100)
        assert await b.ask() == OK


@pytest.mark.parametrize("failure", [Failed(500), Throttled(429), Unreachable("refused")])
def test_failures_in_a_row_open_the_breaker(failure: Outcome) -> None:
    @in_virtual_time
    async def run() -> None:
        async with bench() as b:
            for _ in range(LIMITS.failures):
                assert await b.ask(failure) == failure
            busy = await b.ask()
            assert isinstance(busy, Busy)
            assert (busy.away, busy.rest) == (True, PAUSES[0])
            assert b.receivers.is_away(KEY)
            assert await b.ask(OK, "http://other.example:80") == OK

    run()


@pytest.mark.parametrize("outcome", [Failed(404), Failed(302), Refused(), Forbidden("10.0.0.1"), OK])
def test_what_says_nothing_about_the_receiver_does_not_open_it(outcome: Outcome) -> None:
    @in_virtual_time
    async def run() -> None:
        async with bench() as b:
            for _ in range(3 * LIMITS.failures):
                assert await b.ask(outcome) == outcome

    run()


@in_virtual_time
async def test_an_answer_in_between_begins_the_count_anew() -> None:
    async with bench() as b:
        for _ in range(5):
            for _ in range(LIMITS.failures - 1):
                await b.ask(Failed(500))
            assert await b.ask() == OK


@in_virtual_time
async def test_who_comes_during_a_probe_goes_on_with_its_success_and_is_not_put_off() -> None:
    async with bench() as b:
        await b.open()
        await asyncio.sleep(5)
        (probe,) = await b.asked(OK, lasts=0.003)
        began = now()
        assert [await task for task in await b.asked(OK, lasts=0, count=LIMITS.queue)] == [OK] * LIMITS.queue
        assert now() - began < 0.1
        assert await probe == OK


@in_virtual_time
async def test_who_comes_during_a_probe_that_fails_waits_for_the_next() -> None:
    async with bench() as b:
        await b.open()
        await asyncio.sleep(5)
        (probe,) = await b.asked(Failed(500), lasts=0.003)
        busy = await b.ask()
        assert isinstance(busy, Busy)
        assert (busy.away, busy.rest) == (True, PAUSES[1])
        assert await probe == Failed(500)


@in_virtual_time
async def test_behind_a_probe_that_hangs_a_bounded_number_waits_and_not_for_long() -> None:
    async with bench() as b:
        await b.open()
        await asyncio.sleep(5)
        await b.asked(lasts=15)
        tasks = await b.asked(OK, count=LIMITS.queue + 4)
        assert len(turned_away(tasks)) == 4
        await asyncio.sleep(LONGEST_QUEUED.total_seconds())
        assert len(turned_away(tasks)) == LIMITS.queue + 4
        assert len(b.begun) == LIMITS.failures + 1


@in_virtual_time
async def test_a_probe_that_fails_opens_it_for_longer_up_to_the_longest_pause() -> None:
    async with bench() as b:
        await b.open()
        for pause in [PAUSES[1], PAUSES[1]]:
            await asyncio.sleep(60)
            assert await b.ask(Failed(500)) == Failed(500)
            busy = await b.ask()
            assert isinstance(busy, Busy)
            assert busy.rest == pause


@in_virtual_time
async def test_what_is_fresh_probes_as_soon_as_the_first_pause_is_over() -> None:
    async with bench() as b:
        await b.open()
        await asyncio.sleep(5)
        await b.ask(Failed(500))  # left alone for 30 s from here
        assert isinstance(await b.ask(fresh=True), Busy)
        await asyncio.sleep(5)
        assert isinstance(await b.ask(), Busy)
        assert await b.ask(fresh=True) == OK
        assert b.receivers.worth_asking(KEY)


@in_virtual_time
async def test_a_probe_that_is_cancelled_leaves_its_place_to_another() -> None:
    async with bench() as b:
        await b.open()
        await asyncio.sleep(5)
        (probe,) = await b.asked()
        probe.cancel()
        await settle()
        assert await b.ask() == OK


@in_virtual_time
async def test_the_queued_are_turned_away_when_the_breaker_opens() -> None:
    async with bench() as b:
        tasks = await b.asked(SILENCE, lasts=0.5, count=11)
        assert [await task for task in tasks[:8]] == [SILENCE] * 8
        assert [type(await task) for task in tasks[8:]] == [Busy] * 3
        assert len(b.begun) == 8


@in_virtual_time
async def test_after_its_return_a_receiver_gets_no_more_at_once_than_one_that_is_new() -> None:
    async with bench() as b:
        await b.prove()
        await b.open()
        await asyncio.sleep(60)
        await b.ask()
        begun = len(b.begun)
        await b.asked(lasts=0.5, count=30)
        assert len(b.begun) - begun == 9


@in_virtual_time
async def test_cancelled_attempts_and_queued_ones_free_their_room() -> None:
    async with bench() as b:
        for task in await b.asked(count=11):
            task.cancel()
        await settle()
        await b.asked(count=8)
        assert len(b.begun) == 16
        assert {state.queued for state in b.receivers.states().values()} == {0}


@in_virtual_time
async def test_of_a_million_receivers_a_bounded_number_is_known() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_MOST_KNOWN", 100)
        async with bench() as b:
            await b.asked(key="http://busy.example:80", lasts=1_000)
            await b.open()
            for number in range(1_000):
                await b.ask(OK, f"http://{number}.example:80")
            assert len(b.receivers.states()) == 200
            assert "http://999.example:80" in b.receivers.states()
            assert "http://busy.example:80" in b.receivers.states()


@in_virtual_time
async def test_those_that_never_answer_make_nobody_new_again_who_did() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_MOST_KNOWN", 100)
        async with bench() as b:
            await b.prove()
            for number in range(1_000):
                await b.ask(SILENCE, f"http://{number}.example:80")
            assert KEY in b.receivers.states()
            assert len(b.receivers.states()) == 100 + 1


@in_virtual_time
async def test_the_state_tells_who_is_left_alone() -> None:
    async with bench() as b:
        await b.open()
        assert b.receivers.states()[KEY].rest == PAUSES[0]


@in_virtual_time
async def test_the_log_tells_who_is_left_alone_and_who_is_back() -> None:
    async with bench() as b:
        with capture_logs() as logs:
            await b.open()
            await asyncio.sleep(5)
            await b.ask()
    assert [(line["event"], line["log_level"]) for line in logs] == [
        ("receiver.left-alone", "warning"),
        ("receiver.back", "info"),
    ]
    assert logs[0]["receiver"] == logs[1]["receiver"] == KEY
    assert logs[0]["failures"] == LIMITS.failures
    assert "until" in logs[0]


@in_virtual_time
async def test_where_very_many_wait_for_a_receiver_only_some_look_at_it_often() -> None:
    async with bench() as b:
        await b.open()
        found = [await b.ask() for _ in range(2_500)]
        crowded = [busy.crowded for busy in found if isinstance(busy, Busy)]
        assert 1_500 < crowded.index(True) < 2_100
        assert all(crowded[crowded.index(True) :])


@in_virtual_time
async def test_a_receiver_that_hangs_holds_few_bytes_however_few_they_are_in_number() -> None:
    async with bench() as b:
        tasks = await b.asked(count=8, size=4 * MIB, lasts=15)
        await asyncio.sleep(5)
        held = 8 - len(turned_away(tasks))
        assert 0 < held * 4 * MIB <= LIMITS.size / 4
        assert await b.ask(OK, "http://other.example:80", size=4 * MIB) == OK


@in_virtual_time
async def test_a_result_larger_than_any_part_of_the_room_is_asked_with_all_the_same() -> None:
    async with bench() as b:
        assert await b.ask(OK, size=10 * LIMITS.size) == OK


CRAWLING = 14.0  # seconds


async def crowd(b: Bench, count: int, name: str, lasts: float, times: int = 1) -> list[asyncio.Task[Outcome | Busy]]:
    return [
        task for number in range(count) for task in await b.asked(OK, name.format(number), lasts=lasts, count=times)
    ]


@in_virtual_time
async def test_receivers_that_answer_well_but_slowly_leave_the_room_of_the_quick_to_them() -> None:
    limits = Limits(in_flight=32, queue=256, total=1_000, size=64 * MIB, largest=4 * MIB, failures=5, pauses=PAUSES)
    async with bench(limits) as b:
        await b.prove()
        for _ in range(25):  # as often as it takes to be allowed as many at once as may be
            await asyncio.wait(await crowd(b, 63, "http://crawls.site-{}.example:80", CRAWLING, 2))
        crawling = await crowd(b, 63, "http://crawls.site-{}.example:80", CRAWLING, 40)
        assert sum(not task.done() for task in crawling) <= limits.total // 2
        began = now()
        assert [await b.ask() for _ in range(50)] == [OK] * 50
        assert [await b.ask(OK, f"http://new-{number}.example:80") for number in range(28)] == [OK] * 28
        assert now() == began


@in_virtual_time
async def test_names_that_are_used_once_and_hang_leave_the_room_of_the_new_to_others() -> None:
    async with bench() as b:
        for burst in range(20):
            await crowd(b, 100, f"http://h-{{}}.b-{burst}.attacker.example:80", 15)
            assert await b.ask(OK, f"http://new.honest-{burst}.example:80") == OK
            await asyncio.sleep(0.1)


@in_virtual_time
async def test_receivers_that_were_quick_and_hang_all_at_once_are_slow_ones_within_a_second() -> None:
    limits = Limits(in_flight=32, queue=256, total=1_000, size=64 * MIB, largest=4 * MIB, failures=5, pauses=PAUSES)
    async with bench(limits) as b:
        names = [f"http://turns.site-{number}.example:80" for number in range(63)]
        for key in (KEY, *names):
            await b.prove(key, 40)
        tasks = [task for key in names for task in await b.asked(key=key, count=32)]
        assert [await b.ask() for _ in range(50)] == [OK] * 50
        await asyncio.sleep(module.QUICK.total_seconds() + 0.1)
        cut = turned_away(tasks)
        assert cut
        assert not any(busy.away for busy in cut)
        under_way = sum(not task.done() for task in tasks)
        assert under_way <= limits.total * 10 // 16, "all but what is left to quick and to new ones"
        quick = await b.asked(OK, lasts=0.5, count=32)
        assert [await task for task in quick] == [OK] * 32


@in_virtual_time
async def test_after_a_restart_everybody_is_new_and_the_quick_are_not_for_long() -> None:
    async with bench() as b:
        await crowd(b, 200, "http://crawls.site-{}.example:80", CRAWLING, 3)
        for number in range(200):
            for _ in range(3):
                assert await b.ask(OK, f"http://quick-{number}.example:80", lasts=0.005) == OK


async def dial(b: Bench, key: str, address: str, lasts: float = 15, size: int = 1) -> Outcome | Busy:
    """Ask a receiver that is found at an address."""

    async def attempt() -> Outcome:
        try:
            dialled(address)
        except OSError:
            return Unreachable("not dialled")
        await asyncio.sleep(lasts)
        return OK

    return await b.receivers.ask(key, attempt, size=size, fresh=True)


@in_virtual_time
async def test_names_that_lead_to_one_address_are_bounded_together_where_it_hangs() -> None:
    async with bench() as b:
        for _ in range(3):
            for number in range(500):
                b._tasks.append(asyncio.ensure_future(dial(b, f"http://under-no-domain-{number}:80", "192.0.2.7")))
            await settle()
            await asyncio.sleep(1.5)
        hanging = sum(not task.done() for task in b._tasks)
        assert 0 < hanging <= LIMITS.total // 4
        assert await dial(b, "http://y.other.example:80", "192.0.2.8", 0) == OK


@pytest.mark.parametrize(("size", "at_once"), [(1, 200), (4 * MIB, 10)])
@in_virtual_time
async def test_at_an_address_where_one_domain_holds_all_it_may_others_are_asked(size: int, at_once: int) -> None:
    cdn, slow = "192.0.2.7", "http://slow.example:80"
    async with bench() as b:
        assert await dial(b, slow, cdn, 1.5) == OK
        late = [f"http://late-{number}.attacker.example:80" for number in range(at_once)]
        for key in late:
            assert await dial(b, key, cdn, 1.5) == OK
        for second in range(30):
            for number, key in enumerate(late):
                b._tasks.append(asyncio.ensure_future(dial(b, key, cdn, 14.5, size)))
                silent = f"http://silent-{second}-{number}.attacker.example:80"
                b._tasks.append(asyncio.ensure_future(dial(b, silent, cdn, 15, size)))
            await settle()
            assert await dial(b, f"http://new-{second}.example:80", cdn, 0.02) == OK
            assert await dial(b, slow, cdn, 1.5) == OK


async def silent(b: Bench, name: str = "http://silent.site-{}.example:80", count: int = 500) -> None:
    """Ask so many new receivers that never answer, and wait until those that may hold room hold all they may."""
    for first in range(0, count, 100):
        for number in range(first, first + 100):
            await b.asked(key=name.format(number))
        await asyncio.sleep(1.1)


@in_virtual_time
async def test_beside_silent_ones_a_quick_receiver_is_late_once_and_remains_quick() -> None:
    async with bench() as b:
        await b.prove()
        await silent(b)
        for lasts in (1.5, 4.0):
            assert await b.ask(lasts=lasts) == OK
            assert [await b.ask(lasts=0.02) for _ in range(50)] == [OK] * 50


async def late_and_silent(b: Bench) -> None:
    """Let receivers that answer late, and such as never do, hold all the room that they may."""
    await silent(b)
    for number in range(500):
        await b.prove(f"http://late.site-{number}.example:80", 1)
        await b.asked(OK, f"http://late.site-{number}.example:80", lasts=5)
    await asyncio.sleep(1.1)


@in_virtual_time
async def test_where_late_ones_have_no_room_either_a_quick_receiver_that_is_cut_short_is_asked_on() -> None:
    async with bench() as b:
        await b.prove()
        await late_and_silent(b)
        assert isinstance(await b.ask(lasts=1.5), Busy)
        assert [await b.ask(lasts=0.02) for _ in range(50)] == [OK] * 50


@in_virtual_time
async def test_there_a_receiver_that_was_quick_is_probed_and_left_alone_again_if_the_probe_is_cut_short() -> None:
    async with bench() as b:
        await b.prove()
        for _ in range(LIMITS.failures):
            await b.ask(SILENCE, lasts=15)
        await late_and_silent(b)
        assert isinstance(await b.ask(lasts=15), Busy)
        left_alone = await b.ask()
        assert isinstance(left_alone, Busy)
        assert left_alone.rest == PAUSES[0]
        await asyncio.sleep(PAUSES[0].total_seconds())
        assert await b.ask(lasts=0.02) == OK


@in_virtual_time
async def test_what_a_quick_receiver_held_while_it_hung_does_not_count_once_it_is_quick_again() -> None:
    async with bench() as b:
        await b.prove()
        await b.asked(count=LIMITS.in_flight)  # all of it
        await silent(b)
        await asyncio.sleep(15)
        await silent(b, "http://silent.other-{}.example:80")
        assert [await b.ask(lasts=0.02) for _ in range(50)] == [OK] * 50


@in_virtual_time
async def test_beside_silent_ones_a_receiver_that_is_known_to_answer_late_does() -> None:
    async with bench() as b:
        late = [f"http://late.site-{number}.example:80" for number in range(10)]
        for key in late:
            assert await b.ask(key=key, lasts=1.5) == OK
        await silent(b)
        for _ in range(20):
            asked = [task for key in late for task in await b.asked(OK, key, lasts=1.5)]
            assert [await task for task in asked] == [OK] * len(late)


@in_virtual_time
async def test_late_ones_that_find_no_room_wait_for_it_a_moment() -> None:
    async with bench() as b:
        keys = [f"http://late.site-{number}.example:80" for number in range(600)]
        for key in keys:
            assert await b.ask(key=key, lasts=1.5) == OK
        held = [task for key in keys[:500] for task in await b.asked(OK, key, lasts=1.5)]
        assert turned_away(held) == []
        began = now()
        late = [task for key in keys[550:] for task in await b.asked(OK, key, lasts=1.5)]
        assert [await task for task in late] == [OK] * 50
        assert now() - began < 3.1


@in_virtual_time
async def test_who_hangs_holds_the_room_of_late_ones_for_seconds_unless_it_is_known_to_take_longer() -> None:
    async with bench() as b:
        await b.prove()
        assert await b.ask(key="http://long.example:80", lasts=9) == OK
        await silent(b)
        began = now()
        long = await b.asked(OK, "http://long.example:80", lasts=9)
        assert isinstance(await b.ask(SILENCE, lasts=15), Busy)
        assert 4.9 < now() - began < 5.1
        assert await long[0] == OK


@in_virtual_time
async def test_beside_large_results_for_silent_ones_new_receivers_have_their_small_ones_soon() -> None:
    async with bench() as b:
        took = []

        async def come(key: str, size: int, *, answers: bool) -> None:
            began, outcome, again = now(), OK if answers else SILENCE, False
            while isinstance(await b.ask(outcome, key, lasts=0.02 if answers else 15, size=size, again=again), Busy):
                await asyncio.sleep(5)
                again = True
            if answers:
                took.append(now() - began)

        for number in range(400):
            b.also(come(f"http://large.site-{number}.example:80", 39 * MIB // 10, answers=False))
            if number > 200 and number % 2:
                b.also(come(f"http://new-{number}.example:80", 1_000, answers=True))
            await asyncio.sleep(0.2)
        assert max(took) < 3
        assert len(took) > 90


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["one", "many", "site"]),  # whose name it is
            st.sampled_from([0.2, 1.5, 14.0, 15.0]),  # how long it takes
            st.sampled_from([OK, SILENCE, Failed(500)]),
            st.integers(1, 60),  # calls at once
            st.sampled_from([0.0, 0.3, 2.0]),  # until the next ones
        ),
        max_size=40,
    )
)
def test_whoever_else_is_asked_a_quick_receiver_is_asked_at_once(
    others: list[tuple[str, float, Outcome, int, float]],
) -> None:
    @in_virtual_time
    async def run() -> None:
        async with bench() as b:
            await b.prove()
            for number, (whose, lasts, outcome, count, pause) in enumerate(others):
                host = {"one": "one.example", "many": f"n{number}.attacker.example", "site": f"site-{number}.example"}
                await b.asked(outcome, f"http://{host[whose]}:80", lasts=lasts, count=count)
                began = now()
                assert [await b.ask() for _ in range(3)] == [OK] * 3
                assert now() == began
                await asyncio.sleep(pause)

    run()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 5),  # which receiver
            st.sampled_from([0.0, 0.2, 1.5, 15.0]),  # how long it takes
            st.sampled_from([OK, SILENCE, Failed(500)]),
            st.integers(1, 30),  # calls at once
            st.integers(0, 30),  # how many of them are cancelled
            st.sampled_from([0.0, 0.3, 6.0, 40.0]),  # until the next ones
        ),
        max_size=30,
    )
)
def test_whatever_becomes_of_attempts_all_room_is_given_back(
    calls: list[tuple[int, float, Outcome, int, int, float]],
) -> None:
    @in_virtual_time
    async def run() -> None:
        b = Bench()
        for number, lasts, outcome, count, cancelled, pause in calls:
            tasks = await b.asked(outcome, f"http://r.site-{number}.example:80", lasts=lasts, count=count)
            for task in tasks[:cancelled]:
                task.cancel()
            await asyncio.sleep(pause)
        await b.end()
        assert all(b.receivers.held(kind) == (0, 0) for kind in Kind)
        assert all(state.in_flight == state.queued == 0 for state in b.receivers.states().values())
        await asyncio.sleep(60)
        for number in range(6):  # each may be asked, or probed
            assert await b.ask(OK, f"http://r.site-{number}.example:80") == OK

    run()


@in_virtual_time
async def test_where_no_probe_is_under_way_any_more_nobody_waits_for_its_end() -> None:
    receiver = Receiver("http://receiver.example:80", Bulkhead(1, 1), Breaker(1, [timedelta(seconds=5)]))
    began = now()
    assert await receiver.returned(2.0)
    assert now() == began
