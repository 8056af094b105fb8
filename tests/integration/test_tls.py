"""TLS costs what a usual server makes it cost, and ends when we say so."""

import asyncio
import hashlib
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import uvloop

from callstream.runtime.egress import EgressGuard
from callstream.runtime.http import open_client, open_transport
from callstream.runtime.settings import Egress
from callstream.runtime.tls import Ask, client_context
from callstream.sharing.turns import Turns
from stream_app.delivery import HttpDelivery
from stream_app.outcome import Delivered, Outcome, Unreachable
from tests.support.tls import self_signed
from tests.support.waiting import eventually

Attempt = Callable[[], Awaitable[Outcome]]


@asynccontextmanager
async def calling(
    directory: Path, monkeypatch: pytest.MonkeyPatch, *, behind: int = 0, keeps: bool = False
) -> AsyncIterator[Attempt]:
    """Call a receiver that answers 200, that it `keeps` the connection or not, and then neither reads nor closes."""
    gone = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        connection = b"keep-alive" if keeps else b"close"
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: %b\r\n\r\n{}" % connection)
        writer.transport.pause_reading()  # type: ignore[attr-defined] # a stream's transport reads as well
        await gone.wait()
        writer.transport.abort()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=self_signed(directory, behind=behind))
    monkeypatch.setenv("SSL_CERT_FILE", str(directory / "certificate.pem"))
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with open_transport(10, EgressGuard(Egress(allow="127.0.0.0/8"))) as transport:
        delivery = HttpDelivery(transport, timedelta(seconds=60))
        yield lambda: delivery.attempt(url, b"{}", {})
        port = server.sockets[0].getsockname()[1]
        await eventually(lambda: not connections_to(port), 20)  # a goodbye is waited for for 30
    gone.set()
    server.close()


def connections_to(port: int) -> list[object]:
    return [each for each in psutil.Process().net_connections("tcp") if each.raddr and each.raddr.port == port]


async def test_a_connection_ends_at_once_though_the_other_side_says_no_goodbye(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callstream.runtime.http._IDLE", 0.1)
    async with calling(tmp_path, monkeypatch, keeps=True) as attempt:
        assert await attempt() == Delivered(200)


async def test_a_chain_of_certificates_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with calling(tmp_path, monkeypatch, behind=40) as attempt:
        outcome = await attempt()
    assert isinstance(outcome, Unreachable)
    assert "tls: the handshake is longer than 16384 bytes" in outcome.error


async def test_a_connection_that_is_not_needed_when_its_handshake_ends_ends_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    start_tls = loop.start_tls

    async def too_late(*what: Any, **more: Any) -> None:
        await start_tls(*what, **more)
        raise TimeoutError

    monkeypatch.setattr(loop, "start_tls", too_late)
    async with calling(tmp_path, monkeypatch) as attempt:
        assert isinstance(await attempt(), Unreachable)


async def test_handshakes_have_their_turns_and_those_of_unknown_hosts_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[tuple[Turns, str]] = []
    begin = Turns.begin

    async def seen(turns: Turns, client: str) -> None:
        begun.append((turns, client))
        await begin(turns, client)

    monkeypatch.setattr(Turns, "begin", seen)
    async with calling(tmp_path, monkeypatch) as attempt:
        for _ in range(3):
            assert await attempt() == Delivered(200)
    (first, _), (second, _), (third, _) = begun
    assert first is not second is third
    assert {client for _, client in begun} == {"127.0.0.1"}


def test_no_key_exchange_is_offered_of_which_a_server_chooses_the_size() -> None:
    kinds = {cipher["kea"] for cipher in client_context().get_ciphers()}
    assert kinds == {"kx-ecdhe", "kx-any"}, "the latter are those of TLS 1.3"


def record(kind: int, payload: bytes) -> bytes:
    return bytes([kind, 3, 3]) + len(payload).to_bytes(2) + payload


class Client:
    """Our side of a handshake, without a network."""

    def __init__(self) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._ssl = client_context().wrap_bio(self._incoming, self._outgoing, server_hostname="a.example")
        self.hello = self.hears(b"")

    def hears(self, data: bytes) -> bytes:
        """Return what is said to that."""
        self._incoming.write(data)
        with pytest.raises(ssl.SSLWantReadError):
            self._ssl.do_handshake()
        return self._outgoing.read()

    def asked_for(self, group: int) -> bytes:
        """Return the message by which a server wants a key of that group (RFC 8446, 4.1.4)."""
        session = self.hello[43 : 44 + self.hello[43]]  # behind record, message, version and random
        extensions = b"\x00\x2b\x00\x02\x03\x04" + b"\x00\x33\x00\x02" + group.to_bytes(2)
        random = hashlib.sha256(b"HelloRetryRequest").digest()
        hello = b"\x03\x03" + random + session + b"\x13\x01\x00" + len(extensions).to_bytes(2) + extensions
        return b"\x02" + len(hello).to_bytes(3) + hello


SECP384R1 = 0x18
FFDHE8192 = 0x104
WARNING = record(21, b"\x01\x70")  # of a name that is not known


def test_another_elliptic_curve_is_taken() -> None:
    client = Client()
    assert SECP384R1.to_bytes(2) + b"\x00\x61" in client.hears(record(22, client.asked_for(SECP384R1)))


@pytest.mark.parametrize(
    "cut",
    [
        lambda message: [record(22, message)],
        lambda message: [WARNING + record(22, message)],
        lambda message: [bytes([each]) for each in WARNING + record(22, message)],
        lambda message: [record(22, message[:40]) + record(22, message[40:])],
        lambda message: [record(22, message[:2]) + record(22, message[2:])],
    ],
    ids=["whole", "behind-a-warning", "byte-by-byte", "in-two-records", "in-two-records-soon"],
)
def test_a_group_that_costs_a_fifth_of_a_second_is_not_taken(cut: Callable[[bytes], Iterable[bytes]]) -> None:
    client = Client()
    *pieces, last = cut(client.asked_for(FFDHE8192))
    assert {client.hears(piece) for piece in pieces} <= {b""}
    with pytest.raises(ssl.SSLError, match=r"no elliptic curve|in pieces"):
        client.hears(last)


class Pair:
    """A client and a server behind their handshake, without a network; the client asks for turns where it may `ask`."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch, ask: Ask | None = None, **server: int) -> None:
        context = self_signed(directory)
        for name, value in server.items():
            setattr(context, name, value)
        monkeypatch.setenv("SSL_CERT_FILE", str(directory / "certificate.pem"))
        self.to_client, self.to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
        own = client_context()
        self.client = own.wrap_bio(self.to_client, self.to_server, server_hostname="127.0.0.1")
        self.server = context.wrap_bio(self.to_server, self.to_client, server_side=True)
        for side in (self.client, self.server, self.client, self.server):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
        self.client.ask = ask  # type: ignore[attr-defined] # as it is of its class
        assert self.client.version()

    def says(self, data: bytes) -> bytes:
        """Let the server say that; return what the client reads."""
        self.server.write(data)
        return self.client.read(2**16)


def test_what_comes_behind_a_handshake_has_to_hold_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair(tmp_path, monkeypatch, num_tickets=200)  # of a quarter KiB each
    with pytest.raises(ssl.SSLError, match="holds too little"):
        pair.says(b"data")


def test_tickets_as_servers_give_them_out_are_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    pair = Pair(tmp_path, monkeypatch, asked.append, num_tickets=4)
    for _ in range(100):
        assert pair.says(b"a short answer") == b"a short answer"
    assert not asked


def test_nobody_asks_for_another_handshake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair(tmp_path, monkeypatch)
    pair.to_client.write(record(22, b"\0\0\0\0"))
    with pytest.raises(ssl.SSLError, match="another handshake"):
        pair.client.read(2**16)


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_a_large_answer_that_ends_its_connection_comes_whole(
    loop: Callable[[], asyncio.AbstractEventLoop], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its end is not read while it waits for its turn."""
    text = b'"' + b"a" * 50_000 + b'"'
    begin = Turns.begin

    async def begin_late(turns: Turns, client: str) -> None:
        for _ in range(100):
            await asyncio.sleep(0)
        await begin(turns, client)

    monkeypatch.setattr(Turns, "begin", begin_late)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(text), text))
        await writer.drain()
        with socket.socket(fileno=os.dup(writer.get_extra_info("socket").fileno())) as below:
            below.shutdown(socket.SHUT_WR)  # as servers do that say no goodbye

    async def ask() -> bytes:
        server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=self_signed(tmp_path))
        async with server, open_client(10, EgressGuard(Egress(allow="127.0.0.0/8"))) as http:
            response = await http.get(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        return response.content

    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
    with asyncio.Runner(loop_factory=loop) as runner:
        assert runner.run(ask()) == text


@pytest.mark.parametrize("chunked", [False, True], ids=["of-a-length", "chunked"])
@pytest.mark.parametrize("says_goodbye", [False, True], ids=["silent", "goodbye"])
@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_a_reader_that_is_slower_than_a_server_which_ends_its_connection_gets_all(
    loop: Callable[[], asyncio.AbstractEventLoop],
    says_goodbye: bool,  # noqa: FBT001 - pytest's
    chunked: bool,  # noqa: FBT001 - likewise
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What TLS or the parser holds when the connection ends is not dropped."""
    sizes = range(60_000, 160_000, 4_000)  # the system gives some in such pieces that TLS holds the last
    ended: list[socket.socket] = []

    def answer(client: socket.socket, size: int) -> None:
        client.settimeout(10)
        with context.wrap_socket(client, server_side=True) as tls:
            tls.recv(2**16)
            framing = b"transfer-encoding: chunked" if chunked else b"content-length: %d" % size
            body = b"fa0\r\n%b\r\n" % (b"a" * 4_000) * (size // 4_000) + b"0\r\n\r\n" if chunked else b"a" * size
            tls.sendall(b"HTTP/1.1 200 OK\r\nconnection: close\r\n%b\r\n\r\n%b" % (framing, body))
            ended.append(client)
            if says_goodbye:
                with suppress(OSError):  # which we do not answer
                    tls.unwrap()

    async def read(http: httpx.AsyncClient, url: str) -> int:
        got = 0
        async with http.stream("GET", url) as response:
            async for piece in response.aiter_raw():
                got += len(piece)
                await eventually(lambda: len(ended) == len(sizes))
                for _ in range(300):  # the loop reads what is there
                    await asyncio.sleep(0)
        return got

    async def ask(port: int) -> list[int]:
        async with open_client(100, EgressGuard(Egress(allow="127.0.0.0/8"))) as http:
            return sorted(await asyncio.gather(*(read(http, f"https://127.0.0.1:{port}/") for _ in sizes)))

    context = self_signed(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1 + len(sizes)) as threads:
        server.settimeout(10)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, sizes[-1])  # so that it is done though nobody reads
        threads.submit(lambda: [threads.submit(answer, server.accept()[0], size) for size in sizes])
        with asyncio.Runner(loop_factory=loop) as runner:
            assert runner.run(ask(server.getsockname()[1])) == [*sizes]


def test_a_server_that_takes_a_connection_and_ends_it_has_disconnected() -> None:
    async def ask() -> set[Outcome]:
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        async with server, open_transport(50, EgressGuard(Egress(allow="127.0.0.0/8"))) as transport:
            delivery = HttpDelivery(transport, timedelta(seconds=60))
            return set(await asyncio.gather(*(delivery.attempt(url, b"{}", {}) for _ in range(50))))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        outcomes = runner.run(ask())
    assert all(isinstance(outcome, Unreachable) for outcome in outcomes)
    assert not [outcome for outcome in outcomes if "negative" in str(outcome)]
