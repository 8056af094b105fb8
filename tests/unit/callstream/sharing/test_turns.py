"""A turn comes to each client."""

import asyncio
from functools import partial

from callstream.sharing.turns import Turns
from tests.support.waiting import eventually


async def test_a_turn_comes_to_each_client_and_past_those_that_gave_up() -> None:
    turns, had = Turns(), list[str]()

    async def have(name: str) -> None:
        await turns.take(name[0])
        had.append(name)

    waiting = {name: asyncio.create_task(have(name)) for name in ("a1", "a2", "b1", "a3", "a4")}
    await eventually(lambda: had == ["a1"])
    waiting["a2"].cancel()
    turns.give_back()
    waiting["b1"].cancel()  # its turn is there, and it has not had it
    for name in ("a3", "a4"):
        await eventually(partial(had.__contains__, name))
        turns.give_back()
    await turns.take("c")
    assert had == ["a1", "a3", "a4"]


async def test_a_turn_that_begins_ends_with_the_turn_of_the_loop() -> None:
    turns, turn, had = Turns(), 0, list[int]()

    async def begin(name: str) -> None:
        await turns.begin(name)
        had.append(turn)

    beginning = asyncio.gather(*(begin(str(number)) for number in range(20)))
    while not beginning.done():
        turn += 1
        await asyncio.sleep(0)
    await beginning
    assert len(set(had)) == 20
