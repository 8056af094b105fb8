"""Who finds no room for its kind waits for it, for a moment and in turn: time is the loop's, and costs none."""

import asyncio

from callstream.runtime.ties import ties_of
from stream_app.shares import Kind, Share, Shares
from stream_app.waiting import Waiting
from tests.support.virtual_time import in_virtual_time, now

SLOTS, SIZE, QUEUE = 80, 80_000, 20


class Bench:
    """All the room of those who are new is taken by results of one size; `taken` holds it."""

    def __init__(self, size: int = 1) -> None:
        self.shares = Shares(SLOTS, SIZE)
        self.waiting = Waiting(self.shares, Kind.NEW, QUEUE, SIZE, 2)
        self.taken: list[Share] = []
        self.fill(size)

    def fill(self, size: int = 1) -> None:
        while self.shares.has_room(Kind.NEW, size):
            share = self.shares.claim(Kind.NEW, ties_of(f"http://taken.site-{len(self.taken)}.example:80"), size)
            assert share is not None
            self.taken.append(share)

    def of_one_domain(self, number: int) -> Share | None:
        return self.shares.claim(Kind.NEW, ties_of(f"http://taken-{number}.site.example:80"), 1)

    async def come(
        self, count: int, name: str, size: int = 1, *, again: bool = False
    ) -> list[asyncio.Task[Share | None]]:
        keys = [f"http://{name.format(number)}.example:80" for number in range(count)]
        tasks = [asyncio.ensure_future(self.waiting.claim(ties_of(key), size, again=again)) for key in keys]
        await asyncio.sleep(0)
        return tasks

    async def free(self, count: int) -> None:
        for _ in range(count):
            self.shares.give_back(self.taken.pop())
        await settle()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def served(tasks: list[asyncio.Task[Share | None]]) -> list[bool]:
    return [task.done() and not task.cancelled() and task.result() is not None for task in tasks]


@in_virtual_time
async def test_who_finds_no_room_has_it_in_turn_as_soon_as_there_is_some() -> None:
    b = Bench()
    tasks = await b.come(4, "name-{}")
    await b.free(2)
    assert served(tasks) == [True, True, False, False]


@in_virtual_time
async def test_room_that_comes_free_as_one_counts_as_slow_is_given_to_the_next() -> None:
    b = Bench()
    (task,) = await b.come(1, "site")
    assert b.shares.move(b.taken[0], Kind.SLOW)
    await settle()
    assert served([task]) == [True]


@in_virtual_time
async def test_those_who_come_for_the_first_time_and_those_who_come_again_have_every_second_place() -> None:
    b = Bench()
    again = await b.come(QUEUE, "again-{}", again=True)
    first = await b.come(3, "first-{}")
    await b.free(6)
    assert (sum(served(again)), sum(served(first))) == (3, 3)


@in_virtual_time
async def test_a_bounded_number_waits_and_not_for_long() -> None:
    b = Bench()
    began = now()
    tasks = await b.come(QUEUE + 3, "name-{}")
    await settle()
    assert [task.done() for task in tasks] == [True] * 3 + [False] * QUEUE
    assert await asyncio.gather(*tasks) == [None] * (QUEUE + 3)
    assert now() - began < 2.1
    await b.free(1)
    assert served(await b.come(1, "later")) == [True]


@in_virtual_time
async def test_who_comes_after_a_flood_has_its_turn() -> None:
    b = Bench()
    await b.come(50 * QUEUE, "name-{}")
    later = await b.come(1, "later")
    await b.free(QUEUE)
    assert served(later) == [True]


@in_virtual_time
async def test_their_bytes_are_bounded() -> None:
    b = Bench()
    tasks = await b.come(3, "name-{}", SIZE // 2)
    (larger,) = await b.come(1, "larger", SIZE + 1)
    await settle()
    assert [task.done() for task in (*tasks, larger)] == [True, False, False, True]


@in_virtual_time
async def test_small_ones_pass_a_large_one_that_does_not_fit() -> None:
    b = Bench(2_000)
    (large,) = await b.come(1, "large", 5_000)
    small = await b.come(5, "small-{}", 10)
    await b.free(1)
    assert served([large, *small]) == [False] + [True] * 5


@in_virtual_time
async def test_so_many_pass_a_large_one_and_then_it_has_its_turn() -> None:
    b = Bench(2_000)
    (large,) = await b.come(1, "large", 5_000)
    small = [*await b.come(8, "first-{}", 1_000), *await b.come(8, "again-{}", 1_000, again=True)]
    await b.free(7)
    assert (served([large]), sum(served(small))) == ([False], 10), "five passed it, five came again and had their turn"
    await b.free(1)
    assert served([large]) == [True]


@in_virtual_time
async def test_those_that_wait_have_room_before_those_that_are_found_to_be_of_their_kind() -> None:
    b = Bench()
    found = b.shares.claim(Kind.QUICK, ties_of("http://quick.example:80"), 1)
    assert found is not None
    (waiting,) = await b.come(1, "waiting")
    assert not b.shares.move(found, Kind.NEW)
    await b.free(1)
    assert served([waiting]) == [True]


@in_virtual_time
async def test_a_full_queue_loses_of_those_that_hold_most_of_it() -> None:
    b = Bench()
    small = await b.come(10, "small-{}", 100)
    large = await b.come(5, "large-{}", SIZE // 4)
    await settle()
    assert [task.done() for task in small] == [False] * 10
    assert [task.done() for task in large] == [True, True, False, False, False]
    await b.come(QUEUE, "another-{}", 120)
    assert [task.done() for task in large] == [True, True, False, False, False]


@in_virtual_time
async def test_those_of_one_domain_leave_room_to_whoever_stands_behind_them() -> None:
    b = Bench()
    await b.free(len(b.taken))
    domain = [share for share in map(b.of_one_domain, range(SLOTS)) if share is not None]
    b.fill()
    tied = await b.come(3, "{}.site")
    (other,) = await b.come(1, "other")
    await b.free(1)
    assert domain
    assert [task.done() for task in tied] == [True] * 3
    assert served([*tied, other]) == [False, False, False, True]


@in_virtual_time
async def test_room_given_to_one_that_is_cancelled_is_given_back() -> None:
    b = Bench()
    before, _ = b.shares.held(Kind.NEW)
    waiting, other = await b.come(2, "name-{}")
    b.shares.give_back(b.taken.pop())
    waiting.cancel()
    await settle()
    assert served([waiting, other]) == [False, True]
    assert b.shares.held(Kind.NEW)[0] == before
