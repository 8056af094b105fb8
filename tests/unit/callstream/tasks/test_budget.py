"""Bytes that are kept have a bound, and nobody waits for what waits for them."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import ExitStack, asynccontextmanager
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callstream.tasks.budget import Budget, Share
from tests.support.virtual_time import in_virtual_time

LIMIT = 100
MIB = 2**20


async def begun(work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
    """Return the work as far as it comes at once."""
    task = asyncio.create_task(work)
    for _ in range(3):
        await asyncio.sleep(0)
    return task


@asynccontextmanager
async def led(budget: Budget) -> AsyncIterator[Share]:
    """Let another one be the one that goes on beyond the limit, so that who finds no room waits."""
    with budget.share() as lead:
        await lead.take(LIMIT + 1)
        yield lead


async def test_who_finds_no_room_waits_until_there_is() -> None:
    budget = Budget(LIMIT)
    async with led(budget):
        with budget.share() as second:
            with budget.share() as first:
                await first.take(40)
                await second.take(60)
                waiting = await begun(second.take(1))
                assert not waiting.done()
            await waiting
            assert second.held == 61
    assert budget.used == 0


async def test_one_that_waits_goes_on_beyond_the_limit_and_is_then_followed_by_the_next() -> None:
    budget = Budget(LIMIT)
    with budget.share() as second:
        with budget.share() as first:
            await first.take(50)
            await second.take(50)
            await first.take(200)
            assert budget.used == 300
            waiting = await begun(second.take(200))
            assert not waiting.done()
        await waiting
    assert budget.used == 0


@in_virtual_time
async def test_one_that_hangs_beyond_the_limit_does_not_hold_up_the_others_that_are_to_go_beyond_it() -> None:
    budget = Budget(LIMIT)
    with budget.share() as hanging, budget.share() as other:
        await hanging.take(LIMIT)
        await hanging.take(LIMIT // 8)
        began = asyncio.get_running_loop().time()
        await other.take(50)
        assert asyncio.get_running_loop().time() - began == 1


@in_virtual_time
async def test_what_those_that_hang_keep_beyond_the_limit_is_bounded() -> None:
    budget = Budget(LIMIT)
    with budget.share() as hanging, budget.share() as other:
        await hanging.take(LIMIT)
        await hanging.take(LIMIT)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1_000):
                await other.take(50)
        assert budget.used == 2 * LIMIT


async def test_one_that_goes_on_beyond_the_limit_takes_nothing_of_what_is_left_to_others() -> None:
    budget = Budget(64 * MIB)
    with ExitStack() as ending:
        shares = [ending.enter_context(budget.share()) for _ in range(20)]
        for share in shares:
            while share.grab(1_024):
                pass
        left = 64 * MIB - budget.used
        await shares[0].take(left // 2)
        with budget.share() as small:
            assert small.grab(left // 25)


async def test_a_lane_waits_for_none_of_what_another_holds() -> None:
    budget = Budget(LIMIT, lanes=2)
    with budget.share("data") as lead, budget.share("data") as data, budget.share("calculation") as calculation:
        await lead.take(LIMIT)
        waiting = [await begun(data.take(each)) for each in (75, 1)]
        assert [each.done() for each in waiting] == [True, False]
        await calculation.take(25)
        await calculation.take(1)
        assert budget.used == 201


async def test_nobody_looks_for_room_that_another_lane_has_given_back_to_itself() -> None:
    """A task of another type that ends must cost nothing more because many wait here."""
    budget = Budget(LIMIT, lanes=2)
    with budget.share("data") as lead, budget.share("data") as data:
        await lead.take(LIMIT)
        waiting = await begun(data.take(LIMIT))
        with patch.object(budget, "_hand_out") as looks:
            with budget.share("calculation") as calculation:
                await calculation.take(20)
            looks.assert_not_called()
            with budget.share("calculation") as calculation:
                calculation.force(30)  # more than the lane's own
            looks.assert_called_once()
        waiting.cancel()


@pytest.mark.parametrize("tasks", [1, 17, 40])
async def test_however_much_tasks_want_they_leave_something_to_who_comes(tasks: int) -> None:
    budget = Budget(64 * MIB)
    with ExitStack() as ending:
        for _ in range(tasks):
            share = ending.enter_context(budget.share())
            while share.grab(1_024):
                pass
        with budget.share() as small:
            left = 64 * MIB - budget.used
            assert left >= 64 * MIB // (tasks + 1)
            assert small.grab(left // (tasks + 2))


@pytest.mark.parametrize("much", [1_000, MIB, 64 * MIB])
async def test_what_is_small_never_waits_whatever_others_hold(much: int) -> None:
    budget = Budget(64 * MIB, lanes=2, tasks=1_000)
    with ExitStack() as ending:
        for _ in range(999):
            share = ending.enter_context(budget.share("data"))
            share.force(much)
        with budget.share("data") as small:
            assert small.grab(budget.small)
            assert budget.small > 16_000
    assert budget.used == 0


async def test_of_those_that_wait_who_waited_first_is_first() -> None:
    budget = Budget(LIMIT)
    async with led(budget):
        with budget.share() as first, budget.share() as much, budget.share() as little:
            await first.take(50)
            await much.take(30)
            await little.take(10)
            waiting = [await begun(share.take(20)) for share in (much, little)]
            first.give(15)
            await waiting[0]
            assert not waiting[1].done()
            waiting[1].cancel()


async def test_a_wait_that_is_cancelled_takes_nothing() -> None:
    budget = Budget(LIMIT)
    async with led(budget):
        with budget.share() as first, budget.share() as second:
            await first.take(LIMIT)
            before, at_once = await begun(second.take(40)), await begun(second.take(50))
            before.cancel()
            await asyncio.sleep(0)
            first.give(LIMIT)
            at_once.cancel()  # at the moment that it gets its room
            for cancelled in (before, at_once):
                with pytest.raises(asyncio.CancelledError):
                    await cancelled
            assert (second.held, budget.is_waited_for) == (0, False)


@given(st.lists(st.lists(st.integers(0, 12), max_size=5), max_size=6))
def test_whatever_tasks_take_all_of_them_end_and_give_it_back(wants: list[list[int]]) -> None:
    async def work() -> None:
        budget = Budget(10)
        most = 0

        async def one(sizes: list[int]) -> None:
            nonlocal most
            with budget.share() as share:
                for size in sizes:
                    await share.take(size)
                    most = max(most, budget.used)
                    await asyncio.sleep(0)

        async with asyncio.timeout(10):
            await asyncio.gather(*(one(sizes) for sizes in wants))
        assert budget.used == 0
        assert most <= 10 + max(map(sum, wants), default=0)

    asyncio.run(work())


@in_virtual_time
async def test_of_those_that_are_cancelled_together_none_gives_back_what_it_never_had() -> None:
    """The first of them gives back what it had read, while the others are cancelled and do not know it yet."""
    budget = Budget(64 * MIB)

    async def fetch(share: Share) -> None:
        share.force(1_000)
        try:
            async with asyncio.timeout(1):
                await share.take(16_384)
        finally:
            share.give(1_000)

    with budget.share() as other:
        other.force(64 * MIB)
        with budget.share() as lead, budget.share() as share:
            leading = await begun(lead.take(1))
            ends = await asyncio.gather(*(fetch(share) for _ in range(10)), return_exceptions=True)
            assert [type(end) for end in ends] == [TimeoutError] * 10
            assert share.held == 0
            leading.cancel()
    lane = budget.share().lane
    assert (budget.used, lane.used, lane.beyond, lane.holders) == (0, 0, 0, 0)
