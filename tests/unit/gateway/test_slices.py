"""Short work has a part of each turn of the loop."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial

import pytest

from gateway.slices import Slices

LATER = 60.0  # seconds


class Loop:
    """Counts the event loop's turns, and the seconds of work."""

    def __init__(self) -> None:
        self.turn = 0
        self.seconds = 0.0
        self.done: list[tuple[str, int]] = []
        self._count()

    def clock(self) -> float:
        return self.seconds

    def work(self, client: str) -> bytes:
        self.seconds += 0.002
        self.done.append((client, self.turn))
        return client.encode()

    def _count(self) -> None:
        self.turn += 1
        self._next = asyncio.get_running_loop().call_soon(self._count)

    def stop(self) -> None:
        self._next.cancel()


@pytest.fixture
async def loop() -> AsyncIterator[Loop]:
    counting = Loop()
    yield counting
    counting.stop()


async def test_work_has_a_part_of_each_turn_of_the_loop(loop: Loop) -> None:
    slices, by = Slices(0.005, loop.clock), asyncio.get_running_loop().time() + LATER
    clients = ["a"] * 100 + ["b"]
    asked = (slices.run(client, partial(loop.work, client), by) for client in clients)
    assert await asyncio.gather(*asked) == [client.encode() for client in clients]
    assert max(Counter(turn for _, turn in loop.done).values()) == 3, "the third is beyond 5 ms"
    assert [client for client, _ in loop.done].index("b") < 6, "whoever asks much, the next is another's"
    assert await slices.run("c", lambda: loop.work("c"), by) == b"c"


async def test_work_whose_time_is_over_is_not_begun(loop: Loop) -> None:
    slices, now = Slices(0.001, loop.clock), asyncio.get_running_loop().time()
    with pytest.raises(TimeoutError):
        await slices.run("a", lambda: loop.work("a"), now)
    first = asyncio.create_task(slices.run("a", lambda: loop.work("a"), now + LATER))
    waiting = asyncio.create_task(slices.run("a", lambda: loop.work("late"), asyncio.get_running_loop().time() + 1e-6))
    assert await first == b"a"
    with pytest.raises(TimeoutError):
        await waiting
    assert [client for client, _ in loop.done] == ["a"]


async def test_an_error_of_the_work_is_its_own(loop: Loop) -> None:
    slices, by = Slices(0.001, loop.clock), asyncio.get_running_loop().time() + LATER

    def fail() -> bytes:
        loop.work("a")
        raise ZeroDivisionError

    asked = [slices.run("a", fail, by), slices.run("a", fail, by), slices.run("a", lambda: loop.work("a"), by)]
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ZeroDivisionError, ZeroDivisionError, bytes]
