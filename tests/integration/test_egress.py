"""What must not be reached has no connection, by whatever door, spelling, name or detour."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

import pytest
from aiohttp.abc import ResolveResult

from callstream.runtime import egress
from callstream.runtime.egress import EgressGuard, GuardedResolver
from callstream.runtime.http import open_client, open_transport
from callstream.runtime.settings import Egress
from callstream.tasks import TaskContext, TaskError
from callstream.tasks.data import DataItem, fetch
from stream_app.delivery import HttpDelivery
from stream_app.outcome import Delivered, Forbidden, describe

NOTHING_INSIDE = Egress()
LOOPBACK = Egress(allow="127.0.0.0/8")
OPEN = "127.0.0.2"  # allowed beside 127.0.0.1, which is not
OPEN_ALONE = Egress(allow=OPEN)
REACHED = "reached"
_TLS = b"\x16"  # how a TLS handshake begins
NOT_ALLOWED = "the API cannot be reached: the url's address is not allowed"

Door = Callable[[str, Egress], Awaitable[str]]


class Server:
    """Counts its connections and gives each request the same answer."""

    def __init__(self, answer: str) -> None:
        self._answer = answer
        self.connections = 0
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                if await reader.readexactly(1) != _TLS:
                    await reader.readuntil(b"\r\n\r\n")
                writer.write(f"HTTP/1.1 {self._answer}\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{{}}".encode())
                await writer.drain()
        finally:
            writer.close()


@asynccontextmanager
async def serving(*hosts: str, port: int = 0, answer: str = "200 OK") -> AsyncIterator[Server]:
    server = Server(answer)
    listening = await asyncio.start_server(server.serve, hosts, port)
    server.port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield server


@pytest.fixture
async def inside() -> AsyncIterator[Server]:
    """What nobody may reach."""
    async with serving("127.0.0.1") as server:
        yield server


async def by_callback(url: str, settings: Egress) -> str:
    async with open_transport(1, EgressGuard(settings)) as transport:
        outcome = await HttpDelivery(transport, timedelta(seconds=10)).attempt(url, b"{}", {})
    if isinstance(outcome, Forbidden):
        assert outcome.address
        return NOT_ALLOWED
    return REACHED if outcome == Delivered(200) else describe(outcome)


async def by_fetch(url: str, settings: Egress) -> str:
    async with open_client(1, EgressGuard(settings)) as http:
        value = fetch.handler(DataItem(name="api", url=url), TaskContext(http, 1_000))
        assert isinstance(value, Awaitable)
        try:
            await value
        except TaskError as error:
            return str(error)
    return REACHED


both_doors = pytest.mark.parametrize("door", [by_callback, by_fetch])
both_kinds = pytest.mark.parametrize(
    "addresses", [["127.0.0.1", OPEN], [OPEN, "127.0.0.1"], ["::1", OPEN, "127.0.0.1"]]
)


@both_doors
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LocalHost", "127。0。0。1"])
async def test_what_is_allowed_is_reached(door: Door, host: str, inside: Server) -> None:
    assert await door(f"http://{host}:{inside.port}/", LOOPBACK) == REACHED
    assert inside.connections == 1


@both_doors
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "localhost", "LocalHost", "any.localhost", "127。0。0。1"),
        *("0.0.0.0", "[::]", "[::1]", "[::ffff:127.0.0.1]", "[0:0:0:0:0:FFFF:7F00:1]", "[64:ff9b::127.0.0.1]"),  # noqa: S104 - not bound
    ],
)
async def test_what_is_inside_is_not_allowed(door: Door, scheme: str, host: str, inside: Server) -> None:
    assert await door(f"{scheme}://{host}:{inside.port}/", NOTHING_INSIDE) == NOT_ALLOWED
    assert inside.connections == 0


@both_doors
@pytest.mark.parametrize(
    "host",
    [
        *("0x7f.1", "0x7f000001", "2130706433", "017700000001", "0177.0.0.1", "127.1", "0", "127.0.0.1."),
        *("127.0.0.1..", "localhost.", "user:password@127.0.0.1", "%31%32%37.0.0.1", "127.0.0.1%00.example"),
        *("①②⑦.0.0.1", "[::1%25lo]", "[::1%lo]"),
        *("[::127.0.0.1]", "[::ffff:0:127.0.0.1]", "[2002:7f00:1::]", "[::ffff:0x7f.1]"),
    ],
)
async def test_no_spelling_of_what_is_inside_reaches_it(door: Door, host: str, inside: Server) -> None:
    assert await door(f"http://{host}:{inside.port}/", NOTHING_INSIDE) != REACHED
    assert inside.connections == 0


@both_doors
async def test_a_denied_port_is_not_reached_where_the_network_is_allowed(door: Door, inside: Server) -> None:
    settings = Egress(allow="127.0.0.0/8", deny_ports=(inside.port,))
    assert await door(f"http://127.0.0.1:{inside.port}/", settings) == NOT_ALLOWED
    assert inside.connections == 0


class Names:
    def __init__(self, *answers: list[str]) -> None:
        self._answers = iter(answers)

    async def resolve(self, host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
            for address in next(self._answers)
        ]

    async def close(self) -> None:
        pass


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let names have these addresses, at the first look-up, at the second, ..."""

    def give(*answers: list[str]) -> None:
        names = Names(*answers)
        monkeypatch.setattr(egress, "Names", lambda: names)

    return give


@both_doors
async def test_a_name_that_changes_between_two_look_ups_is_judged_by_what_is_dialled(
    door: Door, inside: Server, answers: Callable[..., None]
) -> None:
    answers([OPEN], ["127.0.0.1"], ["127.0.0.1", "::1"])
    async with serving(OPEN, port=inside.port) as allowed:
        url = f"http://receiver.example:{inside.port}/"
        assert [await door(url, OPEN_ALONE) for _ in range(3)] == [REACHED, NOT_ALLOWED, NOT_ALLOWED]
    assert (allowed.connections, inside.connections) == (1, 0)


@both_doors
@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["127.0.0.1", "::1"], ["::1", "127.0.0.1", "127.0.0.3"]])
async def test_the_socket_has_the_last_word_whatever_the_resolver_gives(
    door: Door, addresses: list[str], inside: Server, answers: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unjudged(self: GuardedResolver, *asked: Any, **more: Any) -> list[ResolveResult]:
        return await self._names.resolve(*asked, **more)

    monkeypatch.setattr(GuardedResolver, "resolve", unjudged)
    answers(addresses)
    assert await door(f"http://receiver.example:{inside.port}/", OPEN_ALONE) == NOT_ALLOWED
    assert inside.connections == 0


@both_doors
@both_kinds
async def test_a_name_with_addresses_of_both_kinds_is_dialled_at_those_that_are_allowed(
    door: Door, addresses: list[str], inside: Server, answers: Callable[..., None]
) -> None:
    answers(addresses)
    async with serving(OPEN, port=inside.port) as allowed:
        assert await door(f"http://receiver.example:{inside.port}/", OPEN_ALONE) == REACHED
    assert (allowed.connections, inside.connections) == (1, 0)


@both_doors
@both_kinds
async def test_a_name_whose_allowed_address_is_down_is_down_and_not_forbidden(
    door: Door, addresses: list[str], inside: Server, answers: Callable[..., None]
) -> None:
    answers(addresses)
    assert "refused: Connection refused" in await door(f"http://receiver.example:{inside.port}/", OPEN_ALONE)
    assert inside.connections == 0


@both_doors
async def test_a_redirect_from_an_allowed_address_leads_nowhere(door: Door, inside: Server) -> None:
    answer = f"307 Temporary Redirect\r\nlocation: http://127.0.0.1:{inside.port}/"
    async with serving(OPEN, answer=answer) as allowed:
        await door(f"http://{OPEN}:{allowed.port}/", LOOPBACK)
    assert (allowed.connections, inside.connections) == (1, 0)


@both_doors
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_in_the_environment_is_not_used(
    door: Door, scheme: str, inside: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{inside.port}")
        monkeypatch.setenv(name.lower(), f"http://127.0.0.1:{inside.port}")
    async with serving(OPEN) as allowed:
        await door(f"{scheme}://{OPEN}:{allowed.port}/", LOOPBACK)
    assert (allowed.connections, inside.connections) == (1, 0)


@both_doors
async def test_names_are_looked_up_without_threads_that_slow_ones_would_fill(
    door: Door, inside: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def blocking(*_: Any, **__: Any) -> None:
        pytest.fail("looked up in a thread")

    monkeypatch.setattr(socket, "getaddrinfo", blocking)
    assert await door(f"http://localhost:{inside.port}/", LOOPBACK) == REACHED
