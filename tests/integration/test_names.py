"""Who has a zone says what its names answer, and not how much of it is read, judged or kept."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from threading import Event
from unittest.mock import patch

import pytest
from aiohttp.abc import ResolveResult

from callstream.runtime import egress
from callstream.runtime.egress import AddressRefusedError, EgressGuard, GuardedResolver
from callstream.runtime.names import Names
from callstream.runtime.settings import Egress
from tests.support.names import Zone


def addresses(first: str, number: int) -> list[str]:
    return [str(ip_address(first) + each) for each in range(number)]


def hosts(found: list[ResolveResult]) -> list[str]:
    return [result["host"] for result in found]


@asynccontextmanager
async def resolving(zone: Zone) -> AsyncIterator[GuardedResolver]:
    """Names are asked of `zone`'s server alone."""
    async with zone.served():
        with patch.object(egress, "Names", lambda: Names(zone.nameservers)):
            resolver = GuardedResolver(EgressGuard(Egress()))
        yield resolver
        await resolver.close()


@pytest.mark.parametrize("all_or_nothing", [True, False])
async def test_of_a_name_with_thousands_of_addresses_no_more_is_read_than_one_datagram(*, all_or_nothing: bool) -> None:
    many = addresses("240.0.0.0", 4_000) + addresses("3fff::", 2_300)
    zone = Zone({"many.example": many}, all_or_nothing)
    async with resolving(zone) as resolver:
        with pytest.raises(OSError, match="no data" if all_or_nothing else "not allowed"):
            await resolver.resolve("many.example", 80)
    assert zone.asked["many.example"] == 2
    assert zone.asked_over_tcp == 0


async def test_of_the_addresses_in_a_datagram_a_few_dozen_are_judged() -> None:
    judged = []

    class Guard(EgressGuard):
        def check(self, host: str, port: int) -> None:
            judged.append(host)
            super().check(host, port)

    zone = Zone({"many.example": addresses("240.0.0.0", 70) + addresses("3fff::", 40)})
    async with zone.served():
        with patch.object(egress, "Names", lambda: Names(zone.nameservers)):
            resolver = GuardedResolver(Guard(Egress()))
        with pytest.raises(AddressRefusedError):
            await resolver.resolve("many.example", 80)
        await resolver.close()
    assert len(judged) == 32


@pytest.mark.parametrize(
    "given",
    [
        *(["8.8.8.8"], ["2606:4700::1"], ["8.8.8.8", "2606:4700::1"]),
        *(addresses("8.8.8.0", 50), addresses("2606:4700::", 40)),
        addresses("8.8.8.0", 50) + addresses("2606:4700::", 40),
    ],
)
async def test_a_name_is_given_with_up_to_fifty_addresses(given: list[str]) -> None:
    async with resolving(Zone({"api.example": given}, all_or_nothing=True)) as resolver:
        found = hosts(await resolver.resolve("api.example", 80))
    assert len(found) == min(8, len(given))
    assert set(found) <= set(given)


async def test_a_name_is_given_by_way_of_others() -> None:
    names = {
        f"edge-{number}.region-{number}.api.example": [f"edge-{number + 1}.region-{number + 1}.api.example"]
        for number in range(10)
    }
    names["edge-10.region-10.api.example"] = ["8.8.8.8"]
    async with resolving(Zone(names, all_or_nothing=True)) as resolver:
        assert hosts(await resolver.resolve("edge-0.region-0.api.example", 80)) == ["8.8.8.8"]


async def test_a_name_that_is_not_there_has_no_address() -> None:
    async with resolving(Zone({})) as resolver:
        with pytest.raises(OSError, match="not found"):
            await resolver.resolve("api.example", 80)


async def test_of_the_answers_that_a_zone_lets_us_keep_only_so_many_are_kept() -> None:
    zone = Zone({f"api-{number}.example": ["8.8.8.8"] for number in range(300)})
    async with resolving(zone) as resolver:
        for _ in range(2):
            await resolver.resolve("api-0.example", 80)
        assert zone.asked["api-0.example"] == 2  # for each kind of address, and then no more
        for number in range(1, 300):
            await resolver.resolve(f"api-{number}.example", 80)
        assert hosts(await resolver.resolve("api-0.example", 80)) == ["8.8.8.8"]
    assert zone.asked["api-0.example"] == 4


async def test_what_is_kept_is_dropped_without_a_look_up_under_way() -> None:
    zone = Zone({f"api-{number}.example": ["8.8.8.8"] for number in range(300)}, late="api-0.example")
    async with resolving(zone) as resolver:
        late = asyncio.ensure_future(resolver.resolve("api-0.example", 80))
        for number in range(1, 300):
            await resolver.resolve(f"api-{number}.example", 80)
        assert not late.done()
        zone.give_late()
        assert hosts(await late) == ["8.8.8.8"]


async def test_the_event_loop_does_not_wait_for_the_lock_that_is_held_while_answers_are_read() -> None:
    zone = Zone({"api.example": ["8.8.8.8"]})
    held, let_go = Event(), Event()
    async with zone.served():
        names = Names(zone.nameservers)

        def hold() -> bool:
            with names._resolver._channel._lock:
                held.set()
                return let_go.wait(10)

        holding = asyncio.get_running_loop().run_in_executor(None, hold)
        await asyncio.to_thread(held.wait)
        found = asyncio.ensure_future(names.resolve("api.example", 80, socket.AF_UNSPEC))
        await asyncio.sleep(0)
        assert not holding.done()
        let_go.set()
        assert await holding
        assert hosts(await found) == ["8.8.8.8"]
        await names.close()
