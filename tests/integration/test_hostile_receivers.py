"""Receivers that do whatever one can, each on a real socket: the attempt always ends, with the right outcome."""

import asyncio
import gzip
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from callstream.runtime.egress import EgressGuard
from callstream.runtime.http import open_transport
from callstream.runtime.settings import Egress
from stream_app.delivery import HttpDelivery
from stream_app.outcome import Delivered, Failed, Forbidden, Outcome, Refused, Throttled, Unreachable, describe
from tests.support.tls import self_signed
from tests.support.waiting import free_port

DEADLINE = timedelta(seconds=0.7)
LOOPBACK = (IPv4Network("127.0.0.0/8"),)

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def says(answer: bytes, *, close: bool = False) -> Behaviour:
    """Answer with these bytes and hold the connection open, or close it."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}")
        writer.write(answer)
        await writer.drain()
        if not close:
            await asyncio.Event().wait()

    return behave


def repeats(first: bytes, again: bytes, pause: float = 0.0) -> Behaviour:
    """Answer, and then go on for ever."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}")
        writer.write(first)
        await writer.drain()
        await asyncio.sleep(pause)
        while True:
            writer.write(again)
            await writer.drain()
            await asyncio.sleep(pause)

    return behave


async def silence(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def close_at_once(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
    pass


async def close_when_asked(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"}")


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"}")
    linger = bytes([1, 0, 0, 0, 0, 0, 0, 0])  # struct linger: on, for no time, so that closing sends RST
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


def answer(status: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"
BOMB = gzip.compress(b"\0" * 2**24)

BEHAVIOURS: dict[str, tuple[Behaviour, type[Outcome], str]] = {
    "answers 200": (says(answer("200 OK", body=b"thanks")), Delivered, "200"),
    "answers 204": (says(b"HTTP/1.1 204 No Content\r\n\r\n"), Delivered, "204"),
    "answers 299 without a length and closes": (says(b"HTTP/1.1 299 Odd\r\n\r\nbye", close=True), Delivered, "299"),
    "answers HTTP/1.0": (says(b"HTTP/1.0 200 OK\r\n\r\n", close=True), Delivered, "200"),
    "sends an endless body": (repeats(CHUNKED, b"400\r\n" + b"x" * 1024 + b"\r\n"), Delivered, "200"),
    "drips its body": (repeats(OK + b"content-length: 1000\r\n\r\n", b"x", 0.1), Delivered, "200"),
    "promises more body than comes": (says(OK + b"content-length: 9\r\n\r\nx", close=True), Delivered, "200"),
    "promises a body and goes silent": (says(OK + b"content-length: 9\r\n\r\nx"), Delivered, "200"),
    "sends a broken chunk": (repeats(CHUNKED, b"zz\r\n", 0.05), Delivered, "200"),
    "sends a gzip bomb": (says(answer("200 OK", "content-encoding: gzip", body=BOMB)), Delivered, "200"),
    "claims gzip and sends none": (says(answer("200 OK", "content-encoding: gzip", body=b"no")), Delivered, "200"),
    "is gone": (says(answer("410 Gone")), Refused, "410"),
    "redirects": (says(answer("307 Temporary Redirect", "location: /elsewhere")), Failed, "307"),
    "redirects inside": (says(answer("302 Found", "location: http://169.254.169.254/latest")), Failed, "302"),
    "does not know the path": (says(answer("404 Not Found")), Failed, "404"),
    "fails": (says(answer("500 Internal Server Error")), Failed, "500"),
    "fails with an endless body": (
        repeats(b"HTTP/1.1 500 No\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        Failed,
        "500",
    ),
    "throttles": (says(answer("429 Too Many Requests")), Throttled, "429"),
    "throttles for two minutes": (says(answer("503 Busy", "retry-after: 120")), Throttled, "asked for 120 s"),
    "throttles until a date long gone": (
        says(answer("503 Busy", "retry-after: Thu, 01 Jan 1970 00:00:00 GMT")),
        Throttled,
        "asked for 0 s",
    ),
    "throttles with nonsense": (says(answer("503 Busy", "retry-after: -1")), Failed, "503"),
    "has a gateway that is lost": (says(answer("502 Bad Gateway")), Throttled, "502"),
    "never answers": (silence, Unreachable, "no answer within 0.7 s"),
    "closes at once": (close_at_once, Unreachable, "disconnected|reset"),
    "closes when asked": (close_when_asked, Unreachable, "disconnected|reset"),
    "resets": (reset, Unreachable, "reset|disconnected"),
    "sends headers for ever": (repeats(OK, b"x-more: " + b"y" * 100 + b"\r\n"), Unreachable, ""),
    "sends a header without an end": (repeats(OK + b"x-long: ", b"y" * 1024), Unreachable, ""),
    "drips its head": (repeats(b"HTTP/1.1 2", b"0", 0.1), Unreachable, ""),
    "continues for ever": (repeats(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.01), Unreachable, "no answer within"),
    "does not speak HTTP": (says(b"220 smtp.example ESMTP\r\n"), Unreachable, ""),
    "speaks binary": (says(bytes(range(256)), close=True), Unreachable, ""),
    "has a length that is none": (says(OK + b"content-length: many\r\n\r\n"), Unreachable, ""),
    "has two lengths": (says(OK + b"content-length: 1\r\ncontent-length: 2\r\n\r\nx"), Unreachable, ""),
    "upgrades": (says(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"), Failed, "101"),
}


class Hostile:
    """A server that behaves; `calls` counts its connections."""

    def __init__(self, behave: Behaviour) -> None:
        self._behave = behave
        self._tasks: set[asyncio.Task[None]] = set()
        self.calls = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.calls += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._behave(reader, writer)
        finally:
            self._tasks.discard(task)
            writer.transport.abort() if task.cancelling() else writer.close()

    async def end(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def hostile(behave: Behaviour, tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[Hostile, str]]:
    receiver = Hostile(behave)
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield receiver, f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await receiver.end()


@pytest.fixture
async def delivery() -> AsyncIterator[HttpDelivery]:
    async with open_transport(10, EgressGuard(Egress(allow=LOOPBACK))) as transport:
        yield HttpDelivery(transport, DEADLINE)


async def attempt(delivery: HttpDelivery, url: str) -> Outcome:
    async with asyncio.timeout(10):  # whatever happens, an attempt ends
        return await delivery.attempt(url, b'{"a": 1}', {"content-type": "application/json", "webhook-id": "t-1"})


def assert_outcome(outcome: Outcome, kind: type[Outcome], text: str) -> None:
    assert type(outcome) is kind, outcome
    described = describe(outcome)
    assert any(part.lower() in described.lower() for part in text.split("|")), described


@pytest.mark.parametrize("name", BEHAVIOURS)
async def test_a_receiver_that(delivery: HttpDelivery, name: str) -> None:
    behave, kind, text = BEHAVIOURS[name]
    async with hostile(behave) as (receiver, address):
        assert_outcome(await attempt(delivery, f"http://{address}/hook"), kind, text)
        assert receiver.calls == 1


async def test_a_receiver_that_hangs_costs_the_next_attempt_elsewhere_nothing(delivery: HttpDelivery) -> None:
    async with hostile(silence) as (_, slow), hostile(says(answer("200 OK"))) as (_, fast):
        hanging = [asyncio.create_task(attempt(delivery, f"http://{slow}/")) for _ in range(5)]
        assert isinstance(await attempt(delivery, f"http://{fast}/"), Delivered)
        assert not any(task.done() for task in hanging)
        assert all(isinstance(outcome, Unreachable) for outcome in await asyncio.gather(*hanging))


async def test_a_port_where_nobody_listens_is_named(delivery: HttpDelivery) -> None:
    assert_outcome(await attempt(delivery, f"http://127.0.0.1:{free_port()}/"), Unreachable, "refused")


@pytest.mark.parametrize("host", ["no-such-name.invalid", "x" * 63 + ".invalid"])
async def test_a_name_that_nobody_has_is_named(host: str) -> None:
    async with open_transport(10, EgressGuard(Egress())) as transport:
        outcome = await attempt(HttpDelivery(transport, timedelta(seconds=5)), f"http://{host}/")
    assert_outcome(outcome, Unreachable, "dns|no answer within")


async def test_an_address_inside_is_forbidden_and_not_reached() -> None:
    async with (
        hostile(says(answer("200 OK"))) as (receiver, address),
        open_transport(10, EgressGuard(Egress())) as inside,
    ):
        outcome = await attempt(HttpDelivery(inside, DEADLINE), f"http://{address}/")
        assert isinstance(outcome, Forbidden)
        assert outcome.address.startswith("127.0.0.1")
        assert receiver.calls == 0


async def test_a_receiver_without_tls_where_tls_is_asked_for_is_named(delivery: HttpDelivery) -> None:
    async with hostile(says(answer("200 OK"))) as (_, address):
        assert_outcome(await attempt(delivery, f"https://{address}/"), Unreachable, "tls|no answer within")


async def test_a_certificate_that_nobody_vouches_for_is_named(delivery: HttpDelivery, tmp_path: Path) -> None:
    async with hostile(says(answer("200 OK")), self_signed(tmp_path)) as (receiver, address):
        assert_outcome(await attempt(delivery, f"https://{address}/"), Unreachable, "tls")
        assert receiver.calls == 0
