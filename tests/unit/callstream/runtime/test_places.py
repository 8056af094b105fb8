"""Places are shared between hosts by how long those hold them: none keeps others from having one."""

import asyncio
import itertools
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from typing import Any
from unittest.mock import patch

import httpx
import pytest
import uvloop

from callstream.runtime.egress import AddressTakenError, dialled
from callstream.runtime.http import SharedTransport
from callstream.runtime.places import Pace, Place, Places
from callstream.sharing.cut_short import CutShortError
from tests.support.virtual_time import in_virtual_time

LIMIT = 240
CROWD = 2 * LIMIT
SILENT = LIMIT * (16 - 4 - 3 - 2) // 16  # places that hosts which do not answer may have


class Internet(httpx.AsyncBaseTransport):
    """Hosts that answer at once, except those with `hangs` in their names, and `late` ones, which take 3 s.

    Those with `mostly` in their names take 0.3 s, and every tenth time 1.3 s.
    Those with `crowded` in their names share an address, all others have one each.
    """

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.silent = set[str]()
        self.under_way = 0
        numbers = itertools.count()
        self._addresses = defaultdict[str, str](lambda: f"2001:db8:{next(numbers):x}::1")

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        host = request.url.host
        self.under_way += 1
        try:
            dialled("192.0.2.7" if "crowded" in host else self._addresses[host])
            self.asked[host] += 1
            if "hangs" in host or host in self.silent:
                await asyncio.Event().wait()
            if "late" in host:
                await asyncio.sleep(3)
            if "mostly" in host:
                await asyncio.sleep(0.3 if self.asked[host] % 10 else 1.3)
            if "lasts" in host:
                return httpx.Response(200, stream=LongBody())
            return httpx.Response(200, stream=HangingBody() if "stalls" in host and self.asked[host] > 1 else Body())
        except AddressTakenError as error:
            raise httpx.ConnectError("turned back", request=request) from error
        finally:
            self.under_way -= 1


class LongBody(httpx.AsyncByteStream):
    """It takes 6 s, with a piece in the very moment in which it may be cut short."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for seconds in (1, 4, 1):
            await asyncio.sleep(seconds)
            yield b" "


class HangingBody(httpx.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()


class Body(httpx.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"{"
        yield b"}"


class Fetches:
    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self.internet = Internet()
        self.transport = SharedTransport(self.internet, limit)
        self.client = httpx.AsyncClient(transport=self.transport, timeout=None)  # noqa: S113 - the test's
        self._begun: list[asyncio.Task[httpx.Response]] = []

    async def begin(self, *hosts: str, seconds: float = 5) -> list[asyncio.Task[httpx.Response]]:
        begun = [asyncio.create_task(self.get(host)) for host in hosts]
        self._begun += begun
        await asyncio.sleep(seconds)
        return begun

    async def get(self, host: str) -> httpx.Response:
        """Fetch, once more where the answer is cut short."""
        try:
            return await self.fetch(host, cut_short=False)
        except CutShortError:
            return await self.fetch(host, cut_short=True)

    async def fetch(self, host: str, **extensions: Any) -> httpx.Response:
        return await self.client.post(f"http://{host}/", content=b"{}", extensions=extensions)

    async def end(self) -> None:
        for task in self._begun:
            task.cancel()
        await asyncio.gather(*self._begun, return_exceptions=True)
        places = self.transport._places
        assert (places._free, places._used) == (self._limit, [0, 0, 0, 0])


@pytest.mark.parametrize("name", ["{}.hangs.example", "a.hangs-crowded-{}.example"], ids=["one domain", "one address"])
@in_virtual_time
async def test_single_use_names_in_one_hand_leave_places_for_a_host_that_nobody_knows(name: str) -> None:
    fetches = Fetches()
    await fetches.begin(*[name.format(number) for number in range(CROWD)])
    for number in range(50):
        async with asyncio.timeout(0.1):
            await fetches.get(f"new-{number}.example")
    await fetches.end()


@in_virtual_time
async def test_single_use_names_in_as_many_hands_leave_places_for_hosts_that_are_quick() -> None:
    fetches = Fetches()
    await fetches.get("quick.example")
    await fetches.begin(*[f"hangs-{number}.example" for number in range(CROWD)])
    for _ in range(50):
        async with asyncio.timeout(0.1):
            await asyncio.gather(*[fetches.get("quick.example") for _ in range(100)])
    async with asyncio.timeout(10):  # as who holds what is for those that nobody knows is cut short
        await fetches.get("new.example")
    await fetches.end()


@in_virtual_time
async def test_what_is_cut_short_is_sent_again_when_a_slow_one_has_gone_and_then_has_its_time() -> None:
    fetches = Fetches(limit=16)
    hanging = await fetches.begin(*[f"hangs-{number}.example" for number in range(100)])
    (late,) = await fetches.begin("late.example", seconds=200)
    assert not late.done()
    for task in hanging:
        task.cancel()
    async with asyncio.timeout(10):
        assert (await late).status_code == 200
    assert fetches.internet.asked["late.example"] == 2
    await fetches.end()


@in_virtual_time
async def test_no_crowd_for_one_host_is_cut_short() -> None:
    fetches = Fetches()
    late = await fetches.begin(*["late.example"] * CROWD, seconds=60)
    assert all(task.done() for task in late)
    assert fetches.internet.asked == {"late.example": CROWD}
    await fetches.end()


@in_virtual_time
async def test_one_host_alone_has_the_greater_part_of_what_is_not_for_others() -> None:
    fetches = Fetches()
    await fetches.begin(*["hangs.example"] * CROWD)
    assert LIMIT / 4 < fetches.internet.under_way <= LIMIT / 2
    await fetches.end()


@in_virtual_time
async def test_names_that_hang_leave_places_for_hosts_that_answer_late() -> None:
    fetches = Fetches()
    await fetches.get("late.example")
    await fetches.begin(*[f"hangs-{number}.example" for number in range(CROWD)], seconds=60)
    for _ in range(5):
        async with asyncio.timeout(3.1):
            await asyncio.gather(*[fetches.get("late.example") for _ in range(10)])
    await fetches.end()


@in_virtual_time
async def test_names_that_hang_after_they_answered_late_leave_places_for_those_that_go_on_answering() -> None:
    fetches = Fetches()
    late = [f"late-{number}.example" for number in range(CROWD)]
    await fetches.begin("late.example", *late, seconds=60)
    fetches.internet.silent.update(late)
    await fetches.begin(*late, seconds=100)  # each had 5 s
    async with asyncio.timeout(3.1):
        await fetches.get("late.example")
    await fetches.end()


@in_virtual_time
async def test_names_that_hang_leave_places_for_a_host_that_is_quick_and_now_and_then_is_not() -> None:
    fetches = Fetches()
    await fetches.get("mostly.example")
    await fetches.begin(*[f"hangs-{number}.example" for number in range(CROWD)])
    for _ in range(50):
        async with asyncio.timeout(1.4):
            await fetches.get("mostly.example")
    assert fetches.internet.asked["mostly.example"] == 51, "none was cut short"
    await fetches.end()


@in_virtual_time
async def test_names_that_were_quick_once_and_hang_keep_a_slow_host_waiting_for_a_slow_ones_time_at_most() -> None:
    fetches = Fetches()
    once = [f"once-{number}.example" for number in range(CROWD)]
    await fetches.begin("late.example", *once)
    fetches.internet.silent.update(once)
    await fetches.begin(*once, seconds=0.5)
    for _ in range(10):
        async with asyncio.timeout(3.1 + 4):
            await fetches.get("late.example")
    await fetches.end()


@in_virtual_time
async def test_a_hosts_time_stands_still_while_its_answers_reader_is_busy() -> None:
    fetches = Fetches()
    places = fetches.transport._places
    async with fetches.client.stream("GET", "http://a.example/") as response:
        async for _ in response.aiter_raw():
            await asyncio.sleep(6)
            assert places._used[Pace.NEW] == 1
    assert (await places.take("a.example")).pace is Pace.QUICK


@in_virtual_time
async def test_a_hosts_time_goes_on_when_its_answers_reader_wants_more() -> None:
    places = Places(8)
    place = await places.take("a.example")
    for seconds in (0.3, 0.3, 0.3):
        await asyncio.sleep(seconds)
        places.pause(place)
        await asyncio.sleep(6)
        places.resume(place)
    await asyncio.sleep(0.2)
    assert place.pace is Pace.SILENT
    places.give(place)
    places.pause(place)
    places.resume(place)
    assert place.alarm is None, "who reads on in what is closed sets it going no more"


def test_a_clock_that_is_to_ring_at_once_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callstream.runtime.places.QUICK", 0.0001)

    async def stop() -> float | None:
        places = Places(8)
        places.pause(place := await places.take("a.example"))
        return place.left

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(stop()) is not None


@in_virtual_time
async def test_names_that_hang_in_the_bodies_of_their_answers_leave_places_for_others() -> None:
    fetches = Fetches()
    stalls = [f"stalls-{number}.example" for number in range(CROWD)]
    await asyncio.gather(*[fetches.get(host) for host in ["quick.example", *stalls]])
    await fetches.get("late.example")
    await fetches.begin(*stalls, seconds=20)
    for host, seconds in ("quick.example", 0.1), ("late.example", 5.1), ("new.example", 1.1):
        async with asyncio.timeout(seconds):
            await fetches.get(host)
    await fetches.end()


@in_virtual_time
async def test_what_was_cut_short_is_sent_once_more_and_no_further_time() -> None:
    fetches = Fetches()
    hanging = await fetches.begin(*[f"hangs-{number}.example" for number in range(CROWD)], seconds=20)
    (lasting,) = await fetches.begin("lasts.example", seconds=20)
    for _ in range(10):  # the host is quick meanwhile
        fetches.transport._places._host("lasts.example").pace = Pace.QUICK
        fetches.transport._places._hand_out()
        await asyncio.sleep(10)
    assert fetches.internet.asked["lasts.example"] == 1
    for task in hanging:
        task.cancel()
    async with asyncio.timeout(10):
        await lasting
    assert fetches.internet.asked["lasts.example"] == 2
    await fetches.end()


@in_virtual_time
async def test_an_answer_is_not_cut_short_whose_reader_cannot_have_it_sent_again() -> None:
    fetches = Fetches()
    await fetches.begin(*[f"hangs-{number}.example" for number in range(CROWD)], seconds=20)
    assert (await fetches.fetch("lasts.example")).status_code == 200
    await fetches.end()


@in_virtual_time
async def test_who_waits_among_the_silent_goes_on_at_once_when_its_host_is_quick_again() -> None:
    fetches = Fetches()
    fetches.internet.silent.add("mostly.example")
    (away,) = await fetches.begin("mostly.example")
    away.cancel()
    fetches.internet.silent.clear()
    await fetches.begin(*[f"hangs-{number}.example" for number in range(SILENT - 1)], seconds=20)
    async with asyncio.timeout(1):  # the first one by the last place, the others when it has answered
        await asyncio.gather(*[fetches.get("mostly.example") for _ in range(5)])
    await fetches.end()


@in_virtual_time
async def test_a_host_is_known_by_its_last_request() -> None:
    places = Places(8)
    paces = []
    for seconds, answered in ((0.5, True), (2, True), (0.5, True), (2, False), (2, True), (6, True), (0.5, False)):
        place = await places.take("a.example")
        paces.append(place.pace)
        await asyncio.sleep(seconds)
        place.answered = answered
        places.give(place)
    assert paces == [Pace.NEW, Pace.QUICK, Pace.SLOW, Pace.QUICK, Pace.SLOW, Pace.SLOW, Pace.SILENT]
    assert (await places.take("a.example")).pace is Pace.QUICK


@in_virtual_time
async def test_hosts_that_are_silent_are_forgotten_first() -> None:
    places = Places(8)

    async def ask(host: str, *, answered: bool) -> None:
        place = await places.take(host)
        await asyncio.sleep(2)
        place.answered = answered
        places.give(place)

    with patch("callstream.runtime.places._MOST_KNOWN", 4):
        await ask("late.example", answered=True)
        for number in range(8):
            await ask(f"hangs-{number}.example", answered=False)
        assert (await places.take("late.example")).pace is Pace.SLOW


async def test_no_more_is_remembered_of_a_name_than_one_can_have_that_is_dialled() -> None:
    places = Places(8)
    place = await places.take("x" * 8_000)
    assert max(len(place.host.name), *(len(tie.name) for tie in place.ties)) <= len("http://:80") + 254
    assert (await places.take("x" * 9_000)).host is place.host


async def started(places: Places, *hosts: str) -> list[asyncio.Task[Place]]:
    takes = [asyncio.create_task(places.take(host)) for host in hosts]
    await asyncio.sleep(0)
    return takes


async def test_the_hand_that_has_fewest_is_next_and_equals_have_their_turn() -> None:
    places = Places(1)
    held = await places.take("other.example")
    takes = await started(places, *[f"{number}.{hand}.example" for hand in "abc" for number in range(2)])
    had = []
    for _ in range(6):
        places.give(held)
        await asyncio.sleep(0)
        (take,) = [take for take in takes if take.done()]
        takes.remove(take)
        held = take.result()
        had.append(held.ties[0].name)
    places.give(held)
    assert had == [f"{hand}.example" for hand in "abcabc"]


@in_virtual_time
async def test_what_becomes_silent_does_not_overtake_others_that_wait_for_that() -> None:
    places = Places(16)
    old = await places.take("old.example")
    await asyncio.sleep(2)
    places.give(old)
    held = [await places.take(f"{number}.example") for number in range(9)]
    await asyncio.sleep(2)
    held.append(await places.take("new-0.example"))
    waiting, late = await started(places, "old.example", "new-1.example")
    places.give(held.pop(0))
    held.append(await late)
    cut: list[Place] = []
    for place in held[-2:]:
        place.cut = partial(cut.append, place)
    await asyncio.sleep(2)
    assert cut == held[-2:]
    for place in cut:
        places.give(place)
    assert (await waiting).pace is Pace.SILENT


async def test_who_gives_up_leaves_its_place_to_the_next() -> None:
    places = Places(1)
    held = await places.take("a.example")
    first, second, third = await started(places, "b.example", "b.example", "c.example")
    first.cancel()
    await asyncio.wait([first])
    places.give(held)
    second.cancel()  # it has the place already, and does not know yet
    with suppress(asyncio.CancelledError):
        await second
    assert (await third).ties[0].name == "c.example"


@in_virtual_time
async def test_whatever_comes_and_goes_no_place_is_lost_or_given_twice() -> None:
    chance = random.Random(7)  # noqa: S311 - it is to be repeated
    places = Places(16)
    under_way = most = 0

    async def fetch(host: str) -> None:
        nonlocal under_way, most
        place = await places.take(f"{host}.example")
        under_way += 1
        most = max(most, under_way)
        try:
            places.dials(place, f"192.0.2.{chance.randrange(4)}")
            await asyncio.sleep(chance.choice([0, 0.1, 3]))
        finally:
            under_way -= 1
            places.give(place)

    fetches = [asyncio.create_task(fetch(chance.choice("aaaabcdefghijkl"))) for _ in range(500)]
    for _ in range(200):
        await asyncio.sleep(0.1)
        chance.choice(fetches).cancel()
    await asyncio.wait(fetches)
    assert most <= 16
    assert (places._free, places._used) == (16, [0, 0, 0, 0])
    assert places._held == {}
    assert all((queue.lines, queue.turns) == ({}, {}) for queue in places._queues)
