"""Who computes in the event loop leaves it to others."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from callstream.tasks.turns import LoopTurns
from tests.support.virtual_time import in_virtual_time, now

LONG, SHORT = 2**20, 10_000  # bytes


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each turn take 0.05 s of the clock by which it is measured."""
    ticks: Iterator[float] = iter(number * 0.05 for number in range(100))
    monkeypatch.setattr("callstream.tasks.turns.time.perf_counter", lambda: next(ticks))


@pytest.mark.usefixtures("clock")
@in_virtual_time
async def test_after_a_long_turn_others_have_the_loop_for_as_long_and_short_ones_do_not_wait() -> None:
    turns, had, began = LoopTurns(), dict[str, float](), now()

    async def have(name: str, size: int) -> None:
        async with turns.turn(name, size):
            had[name] = round(now() - began, 3)

    await asyncio.gather(have("a", LONG), have("b", LONG), have("c", SHORT))
    assert had == {"a": 0, "b": 0.05, "c": 0}


@in_virtual_time
async def test_a_turn_is_waited_for_in_the_block_that_is_given() -> None:
    turns, told = LoopTurns(), list[str]()

    @contextmanager
    def waiting() -> Iterator[None]:
        told.append("waits")
        yield
        told.append("goes on")

    async with turns.turn("a", LONG):
        second = asyncio.create_task(turns.turn("b", LONG, waiting).__aenter__())
        await asyncio.sleep(1)
        assert told == ["waits"]
    await second
    assert told == ["waits", "goes on"]


@in_virtual_time
async def test_tasks_have_their_turns_one_after_the_other_also_past_one_that_fails() -> None:
    turns, had = LoopTurns(), list[str]()

    async def have(name: str) -> None:
        async with turns.turn(name[0], LONG):
            had.append(name)
            raise ValueError(name)

    await asyncio.gather(*map(have, ("a1", "a2", "a3", "b1", "c1")), return_exceptions=True)
    assert had == ["a1", "a2", "b1", "c1", "a3"]
