"""Places are shared between hosts: none keeps others from having one."""

import asyncio
import random
from collections import Counter
from contextlib import suppress

from callstream.runtime.places import Places


def holding(places: Places) -> Counter[str]:
    return Counter(places._held)


async def started(places: Places, *hosts: str) -> list[asyncio.Task[None]]:
    takes = [asyncio.create_task(places.take(host)) for host in hosts]
    await asyncio.sleep(0)
    return takes


async def end(takes: list[asyncio.Task[None]]) -> None:
    for take in takes:
        take.cancel()
    await asyncio.wait(takes)


async def test_one_host_takes_no_more_than_half() -> None:
    places = Places(100)
    takes = await started(places, *["a"] * 200)
    assert holding(places) == {"a": 50}
    await end(takes)


async def test_many_hosts_that_hold_all_that_they_get_leave_one_for_another() -> None:
    places = Places(1_000)
    crowd = await started(places, *[f"hangs-{number}" for number in range(50)] * 100)
    (other,) = await started(places, "quick")
    assert other.done()
    await end(crowd)


async def test_the_host_that_has_fewest_is_next_and_equals_have_their_turn() -> None:
    places = Places(4)
    takes = await started(places, "a", "a", "b", "c", "c", "a", "b", "d", "a")
    assert holding(places) == {"a": 2, "b": 1, "c": 1}
    places.give("a")
    await asyncio.sleep(0)
    assert holding(places) == {"a": 1, "b": 1, "c": 1, "d": 1}
    await end(takes)


async def test_who_gives_up_leaves_its_place_to_the_next() -> None:
    places = Places(1)
    await places.take("a")
    first, second, third = await started(places, "b", "b", "c")
    await end([first])
    places.give("a")
    second.cancel()  # it has the place already, and does not know yet
    with suppress(asyncio.CancelledError):
        await second
    await third
    assert holding(places) == {"c": 1}


async def test_whatever_comes_and_goes_no_place_is_lost_or_given_twice() -> None:
    chance = random.Random(7)  # noqa: S311 - it is to be repeated
    places = Places(8)
    most = 0

    async def fetch(host: str) -> None:
        nonlocal most
        await places.take(host)
        try:
            most = max(most, sum(holding(places).values()))
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
        finally:
            places.give(host)

    fetches = [asyncio.create_task(fetch(chance.choice("aaaabcdefghijkl"))) for _ in range(500)]
    for _ in range(200):
        await asyncio.sleep(0)
        chance.choice(fetches).cancel()
    await asyncio.wait(fetches)
    assert most == 8
    assert (holding(places), places._free, places._waiting, places._turns) == ({}, 8, {}, {})
