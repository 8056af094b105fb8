"""Places that task types share: who holds much leaves others theirs, and who waits much waits for its turn."""

import asyncio
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callstream.sharing.lanes import Lanes, Places
from tests.support.waiting import eventually

TYPES = ("calculation", "data", "plugin")


class Items:
    """Takes places for items, and knows which have one, in the order in which they got it."""

    def __init__(self, places: Places) -> None:
        self.have: list[str] = []
        self._places = places
        self._tasks: list[asyncio.Task[None]] = []

    async def come(self, types: Sequence[str]) -> None:
        self._tasks += [asyncio.create_task(self._take(each)) for each in types]
        await asyncio.sleep(0)

    async def end(self, task: str) -> None:
        """End an item of this type that has a place, and let those run that get it."""
        self.have.remove(task)
        self._places.give_back(task)
        await asyncio.sleep(0)

    async def cancel(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _take(self, task: str) -> None:
        await self._places.take(task)
        self.have.append(task)


@pytest.mark.parametrize(("most", "left"), [(3, 1), (12, 2), (40, 6)])
async def test_a_type_that_takes_all_it_can_leaves_each_other_type_its_places(most: int, left: int) -> None:
    items = Items(Places(most, 3))
    await items.come(["data"] * 100)
    assert len(items.have) == most - 2 * left
    await items.come(["plugin"] * left + ["calculation"] * left)
    assert Counter(items.have) == {"data": most - 2 * left, "plugin": left, "calculation": left}
    await items.cancel()


async def test_one_type_alone_has_all_places() -> None:
    items = Items(Places(5, 1))
    await items.come(["data"] * 9)
    assert len(items.have) == 5
    await items.cancel()


async def test_with_fewer_places_than_types_the_types_that_wait_have_their_turns() -> None:
    items = Items(Places(1, 3))
    await items.come([*["data"] * 3, "plugin", "plugin", "calculation"])
    order = []
    while items.have:
        order += items.have
        await items.end(items.have[0])
    assert order == ["data", "data", "plugin", "calculation", "data", "plugin"]


async def test_a_place_given_to_who_is_cancelled_at_that_moment_goes_to_the_next() -> None:
    places = Places(1, 1)
    await places.take("data")
    first, second = [asyncio.create_task(places.take("data")) for _ in range(2)]
    await asyncio.sleep(0)
    places.give_back("data")
    first.cancel()
    await eventually(second.done)
    assert first.cancelled()


async def test_who_is_cancelled_while_it_waits_leaves_no_trace() -> None:
    places = Places(1, 1)
    await places.take("data")
    waiting = [asyncio.create_task(places.take("data")) for _ in range(3)]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert not places._waiting
    places.give_back("data")
    await places.take("data")


@given(st.integers(0, 12), st.lists(st.sampled_from(TYPES), max_size=40), st.randoms(use_true_random=False))
def test_whatever_comes_and_goes_the_limit_holds_and_each_lane_has_its_share(
    limit: int, coming: list[str], random: object
) -> None:
    lanes, held = Lanes(limit, 3), Counter[str]()
    for lane in coming:
        if held[lane] < limit // 6 or (limit >= 3 and not held[lane]):
            assert lanes.has(lane)
        if lanes.has(lane):
            lanes.change(lane, 1)
            held[lane] += 1
        elif held.total():
            out = random.choice(sorted(held.elements()))  # type: ignore[attr-defined]
            lanes.change(out, -1)
            held[out] -= 1
        assert held.total() <= limit
