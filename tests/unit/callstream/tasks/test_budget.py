"""Bytes that are kept have a bound, and nobody waits for what waits for them."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callstream.tasks.budget import Budget


async def begun(work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
    """Return the work as far as it comes at once."""
    task = asyncio.create_task(work)
    for _ in range(3):
        await asyncio.sleep(0)
    return task


async def test_who_finds_no_room_waits_until_there_is() -> None:
    budget = Budget(10)
    with budget.share() as second:
        with budget.share() as first:
            await first.take(4)
            await second.take(6)
            waiting = await begun(second.take(1))
            assert not waiting.done()
        await waiting
        assert budget.used == 7
    assert budget.used == 0


async def test_the_oldest_goes_on_beyond_the_limit_and_is_then_followed_by_the_next() -> None:
    budget = Budget(10)
    with budget.share() as second:
        with budget.share() as first:
            await first.take(5)
            await second.take(5)
            waiting = await begun(second.take(20))
            await first.take(20)
            assert budget.used == 30
            assert not waiting.done()
        await waiting
    assert budget.used == 0


async def test_what_is_large_leaves_half_to_what_is_not() -> None:
    budget = Budget(10)
    with budget.share() as oldest, budget.share() as large, budget.share() as other:
        await oldest.take(1)
        await large.take(4, large=True)
        waiting = await begun(large.take(1, large=True))
        await other.take(5)
        full = await begun(other.take(1))
        assert [waiting.done(), full.done()] == [False, False]
        other.give(5)
        await full
        assert not waiting.done()
        oldest.give(1)
        await waiting


async def test_who_wants_little_does_not_pass_who_wants_more_and_waits() -> None:
    budget = Budget(10)
    with budget.share() as first, budget.share() as large, budget.share() as small:
        await first.take(5)
        places = [await begun(large.take(8)), await begun(small.take(1))]
        assert [place.done() for place in places] == [False, False]
        first.give(5)
        await asyncio.gather(*places)


async def test_a_wait_that_is_cancelled_takes_nothing() -> None:
    budget = Budget(10)
    with budget.share() as first, budget.share() as second:
        await first.take(10)
        before, at_once = await begun(second.take(4)), await begun(second.take(5))
        before.cancel()
        await asyncio.sleep(0)
        first.give(10)
        at_once.cancel()  # at the moment that it gets its room
        for cancelled in (before, at_once):
            with pytest.raises(asyncio.CancelledError):
                await cancelled
        assert budget.used == 0


@given(st.lists(st.lists(st.tuples(st.integers(0, 12), st.booleans()), max_size=5), max_size=6))
def test_whatever_tasks_take_all_of_them_end_and_give_it_back(wants: list[list[tuple[int, bool]]]) -> None:
    async def work() -> None:
        budget = Budget(10)
        most = 0

        async def one(sizes: list[tuple[int, bool]]) -> None:
            nonlocal most
            with budget.share() as share:
                for size, large in sizes:
                    await share.take(size, large=large)
                    most = max(most, budget.used)
                    await asyncio.sleep(0)

        async with asyncio.timeout(10):
            await asyncio.gather(*(one(sizes) for sizes in wants))
        assert budget.used == 0
        assert most <= 10 + max((sum(size for size, _ in sizes) for sizes in wants), default=0)

    asyncio.run(work())
