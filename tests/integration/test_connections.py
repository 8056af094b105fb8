"""No request meets what another left on its connection, whatever a client asks for and a server answers."""

import asyncio
import gc
import json
import re
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock, patch

import aiohttp
import httpx
import pytest
import uvloop
from aiohttp.client_proto import ResponseHandler

from callstream.contract.raw_json import RawJson
from callstream.runtime import connections
from callstream.runtime.egress import EgressGuard
from callstream.runtime.http import open_client, open_transport
from callstream.runtime.settings import Egress
from callstream.tasks import TaskContext, TaskError
from callstream.tasks.data import DataItem, fetch
from stream_app.delivery import HttpDelivery
from stream_app.outcome import Delivered, Failed, Outcome, Unreachable
from tests.support.tls import self_signed
from tests.support.waiting import eventually

CHUNK = b"fa0\r\n%b\r\n" % (b"a" * 4_000)
GUARD = EgressGuard(Egress(allow="127.0.0.0/8"))
GOOD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
BAD = b"HTTP/1.1 500 Bad\r\ncontent-length: 0\r\n\r\n"
MIB = 2**20
SMALL_BUFFER = 32 * 1024  # bytes
SIZES = list(range(60_000, 400_000, 20_000))  # bytes, of which at least one ends where TLS says that nothing is left

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Keeps the heads and bodies that came, as bytes; `answer` is what it does after a head."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.url = ""
        self.connections = 0
        self.greets = False
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.serving: set[asyncio.Task[None]] = set()

    def begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self.serve(reader, writer))
        self.serving.add(task)
        task.add_done_callback(self.serving.discard)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self.greets:
            await self._answer(reader, writer)
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    head = await reader.readuntil(b"\r\n\r\n")
                    self.heads.append(head)
                    await self._answer(reader, writer)
                    length = re.search(rb"(?i)content-length: *(\d+)", head)
                    if length:
                        self.bodies.append(await reader.readexactly(int(length[1])))
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


@asynccontextmanager
async def serving(answer: Answer, context: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server(answer)
    listening = await asyncio.start_server(server.begin, "127.0.0.1", ssl=context)
    server.url = f"http{'s' * bool(context)}://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
    async with listening:
        yield server
        if server.serving:
            await asyncio.wait(server.serving, timeout=5)


def saying(*answers: bytes) -> Answer:
    """Say the first at the first request, and so on; the last at all that follow."""
    rest = list(answers)

    async def say(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(rest.pop(0) if len(rest) > 1 else rest[0])
        await writer.drain()

    return say


async def fetched(http: httpx.AsyncClient, url: str, **fields: Any) -> Any:
    value = fetch.handler(DataItem(name="api", url=url, **fields), TaskContext(http, MIB))
    assert isinstance(value, Awaitable)
    async with asyncio.timeout(5):
        found = await value
    assert isinstance(found, RawJson)
    return json.loads(found.data)


class FewBytesGuard(EgressGuard):
    """Its sockets hold little of what is sent, as they do towards a receiver that is far away."""

    def socket(self, address: Any) -> socket.socket:
        made = super().socket(address)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
        return made


@asynccontextmanager
async def delivering(
    deadline: float = 5, guard: EgressGuard = GUARD
) -> AsyncIterator[Callable[..., Awaitable[Outcome]]]:
    async with open_transport(10, guard) as transport:
        delivery = HttpDelivery(transport, timedelta(seconds=deadline))
        yield lambda url, body=b"{}": delivery.attempt(url, body, {})


async def test_what_one_item_says_of_its_length_swallows_no_request_of_another() -> None:
    async with serving(saying(GOOD)) as server, open_client(10, GUARD) as http:
        with suppress(TaskError):
            await fetched(http, server.url, headers={"Content-Length": "60"})
        with suppress(TimeoutError, TaskError):
            await fetched(http, server.url, headers={"Authorization": "Bearer secret"})
    assert [b"secret" in head for head in server.heads] == [True]
    assert server.bodies == []


async def test_a_handlers_own_request_is_framed_by_what_it_is_and_not_by_its_headers() -> None:
    odd = {"Content-Length": "500", "Transfer-Encoding": "chunked", "Connection": "x", "Host": "b.example", "TE": "x"}
    async with serving(saying(GOOD)) as server, open_client(10, GUARD) as http:
        assert (await http.post(server.url, content=b"12", headers=odd)).status_code == 200
        await eventually(lambda: server.bodies)
    head = server.heads[0].lower()
    assert server.bodies == [b"12"]
    assert (b"transfer-encoding" in head, b"b.example" in head, b"\r\nte:" in head) == (False, False, False)


async def test_of_the_connections_that_wait_for_a_request_a_bounded_number_is_kept() -> None:
    kept = 2
    async with AsyncExitStack() as stack:
        stack.enter_context(patch("callstream.runtime.connections._MOST_IDLE", kept))
        servers = [await stack.enter_async_context(serving(saying(GOOD))) for _ in range(4)]
        attempt = await stack.enter_async_context(delivering())
        for server in servers:
            assert await attempt(server.url) == Delivered(200)
        await eventually(lambda: [len(server.serving) for server in servers] == [0, 0, 1, 1])
        assert await attempt(servers[-1].url) == Delivered(200)
        assert servers[-1].connections == 1, "it serves again"


async def test_no_connection_serves_two_fetches() -> None:
    async with serving(saying(GOOD)) as server, open_client(10, GUARD) as http:
        for key in ("one", "two", "two"):
            assert await fetched(http, server.url, headers={"Authorization": key}) == {}
    assert server.connections == len(server.heads) == 3
    assert all(b"\r\nconnection: close\r\n" in head.lower() for head in server.heads)


async def test_callbacks_that_are_wholly_answered_share_a_connection() -> None:
    async with serving(saying(GOOD)) as server, delivering() as deliver:
        assert [await deliver(server.url) for _ in range(3)] == [Delivered(200)] * 3
    assert (server.connections, server.bodies) == (1, [b"{}"] * 3)


@pytest.fixture(params=["plain", "tls"])
def context(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext | None:
    if request.param == "plain":
        return None
    made = self_signed(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
    return made


async def lands(writer: asyncio.StreamWriter) -> None:
    """Return when the other side, in this loop, had time to read what was written."""
    await eventually(lambda: not writer.transport.get_write_buffer_size())
    for _ in range(100):
        await asyncio.sleep(0)


async def test_a_connection_whose_request_was_not_wholly_sent_is_not_used_again(context: ssl.SSLContext | None) -> None:
    read_on = asyncio.Event()

    async def early(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(server.heads) > 1:
            writer.write(GOOD)
            return
        writer.write(BAD)
        await read_on.wait()

    async with serving(early, context) as server, delivering() as deliver:
        assert await deliver(server.url, b" " * 16 * MIB) == Failed(500)
        assert await deliver(server.url) == Delivered(200)
        assert server.connections == 2
        read_on.set()
    assert server.bodies == [b"{}"]


async def test_what_is_delivered_has_left_whole_though_its_receiver_said_so_before(
    context: ssl.SSLContext | None,
) -> None:
    async def early(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(GOOD)
        await lands(writer)

    large = b" " * 16 * MIB
    async with serving(early, context) as server, delivering(30) as deliver:
        assert await deliver(server.url, large) == Delivered(200)
        assert await deliver(server.url) == Delivered(200)
    assert server.bodies == [large, b"{}"]


class SlowReceiver:
    """Says 200 to a head, and reads what follows when it may; in a thread, so that nothing is read ahead for it."""

    def __init__(self, context: ssl.SSLContext | None, count: int) -> None:
        self._context = context
        self._count = count
        self._at = socket.create_server(("127.0.0.1", 0))
        self._at.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        self._at.settimeout(30)
        self.port = self._at.getsockname()[1]
        self.may_read = threading.Semaphore(0)
        self.received: list[int] = []

    def run(self) -> None:
        with self._at:
            for _ in range(self._count):
                connection, _ = self._at.accept()
                connection.settimeout(30)
                wrap = self._context.wrap_socket if self._context else None
                with wrap(connection, server_side=True) if wrap else connection as peer:
                    self.received.append(self._serve(peer))

    def _serve(self, peer: socket.socket) -> int:
        """Return how many bytes came of the body."""
        came = b""
        while b"\r\n\r\n" not in came:
            came += peer.recv(1_000)
        peer.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
        assert self.may_read.acquire(timeout=30)
        head, _, body = came.partition(b"\r\n\r\n")
        length = int(re.search(rb"(?i)content-length: *(\d+)", head)[1])  # type: ignore[index]
        size = len(body)
        with suppress(OSError):
            while size < length and (piece := peer.recv(2**16)):
                size += len(piece)
        return size


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_what_is_delivered_has_left_whole_though_its_connection_closes(
    loop: Callable[[], asyncio.AbstractEventLoop], context: ssl.SSLContext | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TLS does not tell what of it has left, and its connection is aborted when it is not needed any more."""
    receiver = SlowReceiver(context, len(SIZES))
    url = f"http{'s' * bool(context)}://127.0.0.1:{receiver.port}/"
    sent = connections._sent

    async def seen(*what: Any) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(0.05, receiver.may_read.release)  # behind what would happen at once, were it not waited for
        await sent(*what)

    async def deliver_all() -> list[Outcome]:
        async with delivering(30, FewBytesGuard(Egress(allow="127.0.0.0/8"))) as deliver:
            return [await deliver(url, b" " * size) for size in SIZES]

    monkeypatch.setattr(connections, "_sent", seen)
    serving = threading.Thread(target=receiver.run)
    serving.start()
    with asyncio.Runner(loop_factory=loop) as runner:
        outcomes = runner.run(deliver_all())
    serving.join()
    assert outcomes == [Delivered(200)] * len(SIZES)
    assert receiver.received == SIZES


async def test_what_has_not_left_when_its_receiver_goes_is_not_delivered(context: ssl.SSLContext | None) -> None:
    async def leave(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(GOOD)
        await lands(writer)
        writer.transport.abort()

    async with serving(leave, context) as server, delivering() as deliver:
        outcome = await deliver(server.url, b" " * 16 * MIB)
        assert isinstance(outcome, Unreachable)
        assert "before all of the request had left" in outcome.error


async def test_what_a_receiver_does_not_read_is_not_delivered(context: ssl.SSLContext | None) -> None:
    leave = asyncio.Event()

    async def hold(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(GOOD)
        await leave.wait()
        writer.transport.abort()

    async with serving(hold, context) as server, delivering(1) as deliver:
        assert await deliver(server.url, b" " * 16 * MIB) == Unreachable("no answer within 1 s")
        leave.set()


@pytest.mark.parametrize("more", [GOOD, GOOD[:20], b"x", BAD + GOOD])
async def test_what_follows_an_answer_is_the_answer_to_no_other_request(more: bytes) -> None:
    async with serving(saying(BAD + more, GOOD)) as server, delivering() as deliver:
        first, second = await deliver(server.url), await deliver(server.url)
    assert isinstance(first, Failed | Unreachable)
    assert second == Delivered(200)


async def test_what_comes_while_a_connection_waits_ends_it() -> None:
    writers: list[asyncio.StreamWriter] = []

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        writer.write(GOOD if len(writers) == 1 else BAD)

    async with serving(answer) as server, delivering() as deliver:
        assert await deliver(server.url) == Delivered(200)
        writers[0].write(GOOD)
        await eventually(lambda: not writers[0].transport.get_write_buffer_size())
        for _ in range(3):
            await asyncio.sleep(0)  # the client's turn to read it
        assert await deliver(server.url) != Delivered(200)
    assert server.connections == 2


async def test_a_server_that_speaks_before_it_is_asked_has_not_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = aiohttp.TCPConnector.connect

    async def connect_and_wait(connector: aiohttp.TCPConnector, *request: Any, **more: Any) -> Any:
        connection = await connect(connector, *request, **more)
        await eventually(lambda: connection.protocol is not None and connection.protocol.should_close)
        return connection

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(GOOD)

    monkeypatch.setattr(aiohttp.TCPConnector, "connect", connect_and_wait)
    async with serving(greet) as server, delivering() as deliver:
        server.greets = True
        assert await deliver(server.url) == Unreachable("ConnectError: the server spoke before it was asked")
    assert (server.connections, server.heads) == (1, [])


@pytest.mark.parametrize(
    "flood",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n" * 1_000,
        b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" * 1_000,
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 1_000,
        b"HTTP/1.1 200 OK\r\na: " + b"x" * 10_000,
        b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" * 9 + GOOD,
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"a%d: %b\r\n" % (each, b"x" * 4_000) for each in range(5)) + GOOD[17:],
    ],
    ids=["continue", "hints", "many", "long", "few-hints", "few"],
)
async def test_an_endless_head_is_no_answer(flood: bytes) -> None:
    sent = 0

    async def pour(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        while sent < 64 * MIB:
            writer.write(flood)
            await writer.drain()
            sent += len(flood)

    async with serving(pour) as server, delivering() as deliver, open_client(10, GUARD) as http:
        assert isinstance(await deliver(server.url), Unreachable)
        with pytest.raises(TaskError, match="cannot be reached"):
            await fetched(http, server.url)
    assert sent < 32 * MIB


CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "flood",
    [b"1\r\n1\r\n" * 10_000, b"1;" + b"x" * 60_000, (b"1;" + b"x" * 1_000 + b"\r\n1\r\n") * 60],
    ids=["bytes", "extension", "extensions"],
)
async def test_a_body_that_is_little_but_framing_is_no_answer_to_a_fetch(flood: bytes) -> None:
    async def pour(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED + flood)
        await writer.drain()

    async with serving(pour) as server, delivering() as deliver, open_client(10, GUARD) as http:
        with pytest.raises(TaskError, match="the chunks are too small"):
            await fetched(http, server.url)
        assert await deliver(server.url) == Delivered(200)  # its status was known before


@pytest.mark.parametrize("size", [32, 1_000, 100_000])
async def test_an_answer_in_chunks_of_some_size_is_read_whole(size: int) -> None:
    text = b'"' + b"a" * 900_000 + b'"'
    chunks = (text[begin : begin + size] for begin in range(0, len(text), size))
    answer = CHUNKED + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    async with serving(saying(answer)) as server, open_client(10, GUARD) as http:
        assert await fetched(http, server.url) == "a" * 900_000


async def test_what_an_answer_took_is_free_with_its_end_and_not_with_a_collection() -> None:
    async def hang(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n[")
        await writer.drain()

    def kept() -> list[object]:
        return [each for each in gc.get_objects() if isinstance(each, ResponseHandler | aiohttp.ClientResponse)]

    async with serving(hang) as server, open_client(10, GUARD) as http:
        gc.collect()
        gc.disable()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(0.1):
                    await fetched(http, server.url)
            await eventually(lambda: not kept())
        finally:
            gc.enable()


@pytest.mark.parametrize("reason", ["Créé".encode("latin-1"), "Créé".encode(), b"\xff\xfe", b""])
async def test_an_answer_counts_by_its_status_whatever_its_reason_phrase(reason: bytes) -> None:
    answer = b"HTTP/1.1 201 " + reason + b"\r\ncontent-length: 1\r\n\r\n7"
    async with serving(saying(answer)) as server, delivering() as deliver, open_client(10, GUARD) as http:
        assert await deliver(server.url) == Delivered(201)
        assert await fetched(http, server.url) == 7


async def test_what_waits_to_be_parsed_does_not_count_as_framing() -> None:
    protocol = connections._Protocol(asyncio.get_running_loop())
    protocol.connection_made(Mock(asyncio.Transport, get_extra_info=lambda *_: None))
    protocol.set_response_params(read_bufsize=connections.BUFFER)
    protocol.data_received(CHUNKED + CHUNK * 50 + b"0\r\n\r\n")
    _, payload = await protocol.read()
    assert await payload.read() == b"a" * 200_000
