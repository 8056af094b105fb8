"""Receivers and APIs that answer anything, each kind at an address of its own: none is judged by another's deeds."""

import asyncio
import gzip
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache, partial

from aiohttp import web

_LONGEST = 60.0  # seconds for which a stranger goes on
_LINGER = 0.3  # seconds until it closes what it has answered
_MOST = 64 * 2**20  # bytes that it sends
_CHUNK = bytes(64 * 1024)

Writer = asyncio.StreamWriter
Behaviour = Callable[[random.Random, Writer], Awaitable[None]]
STRANGERS: dict[str, Behaviour] = {}


def stranger(answer: Behaviour) -> Behaviour:
    STRANGERS[answer.__name__] = answer
    return answer


def whole(status: int, body: bytes, *lines: bytes, reason: bytes = b"Why not") -> bytes:
    head = [b"HTTP/1.1 %d " % status + reason, b"Content-Length: %d" % len(body), *lines]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


@stranger
async def any_status(chance: random.Random, writer: Writer) -> None:
    status = chance.choice([chance.randrange(100, 1_000), 99, 0, 204, 205, 304, 410, 429, 1_000, 101])
    reason = chance.choice([b"Cr\xe9\xe9", "Créé".encode(), b"", b"\xff" * 200, b"x" * 70_000])
    writer.write(whole(status, b"{}", reason=reason))


@stranger
async def retry_after(chance: random.Random, writer: Writer) -> None:
    value = chance.choice(
        [b"9" * 400, b"-1", b"1e999", b"soon", b"Fri, 31 Dec 9999 23:59:59 GMT", b"\xff", b"0", b"1.5"]
    )
    writer.write(whole(chance.choice([429, 503, 200, 301]), b"", b"Retry-After: " + value))


@stranger
async def noise(chance: random.Random, writer: Writer) -> None:
    writer.write(
        chance.choice([chance.randbytes(5_000), b"\r\n\r\n", b"HTTP/1.1 ", b"220 smtp.example\r\n", b"\x00" * 100])
    )


@stranger
async def no_length(chance: random.Random, writer: Writer) -> None:
    writer.write(b"HTTP/1.%d 200 OK\r\n\r\n" % chance.randrange(2) + b"x" * chance.choice([0, 100, 100_000]))


@stranger
async def endless_body(chance: random.Random, writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n" + chance.choice([b"", b"Content-Length: 99999999999\r\n"]) + b"\r\n")
    await _flood(writer, _CHUNK)


@stranger
async def endless_head(chance: random.Random, writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    await _flood(writer, chance.choice([b"x: y\r\n" * 1_000, b"x" * 10_000, b" folded\r\n" * 1_000]))


@stranger
async def endless_continue(_: random.Random, writer: Writer) -> None:
    await _flood(writer, b"HTTP/1.1 100 Continue\r\n\r\n" * 1_000)


@stranger
async def endless_chunks(chance: random.Random, writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    await _flood(writer, chance.choice([b"1\r\nx\r\n" * 5_000, b"1;" + b"e" * 60_000 + b"\r\nx\r\n"]))


@stranger
async def bad_chunks(chance: random.Random, writer: Writer) -> None:
    chunk = chance.choice(
        [b"ffffffffffffffff\r\nx", b"-1\r\nx", b"g\r\nx", b"0x1\r\nx\r\n0\r\n\r\n", b"5\r\nab", b"1\nx\n0\n\n"]
    )
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk)


@stranger
async def bad_length(chance: random.Random, writer: Writer) -> None:
    value = chance.choice([b"-1", b"1, 2", b"9" * 400, b"0x2", b"+2", b"2\r\nContent-Length: 3", b"100", b""])
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: " + value + b"\r\n\r\n{}")


@stranger
async def large_headers(chance: random.Random, writer: Writer) -> None:
    lines = chance.choice(
        [[b"x: " + b"y" * 2**20], [b"x-%d: y" % number for number in range(20_000)], [b"x: \x00\xff"]]
    )
    writer.write(whole(200, b"{}", *lines))


@stranger
async def redirect(chance: random.Random, writer: Writer) -> None:
    place = chance.choice(
        [b"/", b"http://127.0.0.1:9092/", b"http://169.254.169.254/", b"//evil.example", b"\xff", b"x" * 70_000]
    )
    writer.write(whole(chance.choice([301, 302, 303, 307, 308]), b"", b"Location: " + place))


@stranger
async def hang(_: random.Random, writer: Writer) -> None:
    await asyncio.sleep(_LONGEST)
    writer.write(whole(200, b"{}"))


@stranger
async def crawl(chance: random.Random, writer: Writer) -> None:
    for byte in whole(200, b"{}" * 1_000, b"x: y")[chance.choice([0, 0, 40]) :]:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.5)


@stranger
async def close_early(chance: random.Random, writer: Writer) -> None:
    answer = whole(200, b"{}" * 100)
    writer.write(answer[: chance.choice([0, 5, 20, len(answer) - 10])])
    if chance.random() < 0.5:
        writer.transport.abort()  # RST


@stranger
async def bomb(chance: random.Random, writer: Writer) -> None:
    body = _bomb()
    encoding = chance.choice([b"gzip", b"gzip", b"deflate", b"br", b"gzip, gzip", b"x" * 1_000])
    writer.write(whole(200, body, b"Content-Encoding: " + encoding))


@cache  # the one loop of all strangers would stand still for each
def _bomb() -> bytes:
    return gzip.compress(bytes(_MOST // 4))


@stranger
async def endless_gzip(chance: random.Random, writer: Writer) -> None:
    """Bytes without end, of which nothing comes when they are decoded."""
    start = chance.choice([gzip.compress(b"1"), gzip.compress(b"")[:10], gzip.compress(b"")[:3] + b"\x10" + bytes(6)])
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + start)
    await _flood(writer, chance.choice([_CHUNK, b"\0\0\0\xff\xff" * 1_000, b"a" * 64_000, gzip.compress(b"") * 3_000]))


@stranger
async def costly_json(chance: random.Random, writer: Writer) -> None:
    """What comes in a kilobyte, takes long to look at, and is of no use."""
    filling = chance.choice([b'{"":0},', b"[],", b"5e-9,", b'"\\u0001",', b"1e100,"])
    body = gzip.compress(b"[" + filling * ((2**20 - 10) // len(filling)) + chance.choice([b"1e999]", b"NaN]", b""]))
    writer.write(whole(200, body, b"Content-Encoding: gzip"))


@stranger
async def cookies(chance: random.Random, writer: Writer) -> None:
    fields = [b"set-cookie: a=b", b"set-cookie2: " + chance.choice([b"a=b,", b'a="', b"; "]) * 1_900]
    writer.write(whole(200, b"{}", *fields, b"set-cookie2: " + b"a," * 3_000))


@stranger
async def odd_json(chance: random.Random, writer: Writer) -> None:
    most = chance.choice([1_000, 2**20 - 100, 2**20, 2**20 + 1])
    body = chance.choice(
        [
            b"[" + b"[]," * (most // 3 - 2) + b"[]]",
            b"[" + b"1e999," * 100 + b"1]",
            b"[" * 100_000,
            b"[" * 900 + b"]" * 900,
            b"NaN",
            b"9" * 4_301,
            b"[" + b",".join([b"9" * 4_300] * (most // 4_301 - 1)) + b"]",
            b"[" + b",".join([b"1e100"] * (most // 6 - 1)) + b"]",
            b'"\\ud800"',
            b'"' + b"a" * (most - 2) + b'"',
            b'{"a":1,"a":2}',
            '"é"'.encode("utf-16"),
            b"\xef\xbb\xbf{}",
            b"\xff",
            b"",
            b"{}" + b" " * (most - 2),
            b'"' + b"\\u0000" * (most // 6 - 1) + b'"',
            b"-0",
            b"1E400",
            b"{" + b",".join(b'"%d":{}' % number for number in range(most // 12)) + b"}",
            b"[" + b'{"":0},' * (most // 7 - 2) + b"1e999]",
        ]
    )
    writer.write(whole(200, body, b"Content-Type: application/json"))


@stranger
async def more_than_asked(_: random.Random, writer: Writer) -> None:
    """An answer, and at once one to a request that nobody has made."""
    writer.write(whole(200, b'{"a": 1}') + whole(200, b'{"a": "another\'s"}'))


@stranger
async def odd_versions(chance: random.Random, writer: Writer) -> None:
    version = chance.choice([b"HTTP/2", b"HTTP/1.0", b"HTTP/9.9", b"http/1.1", b"ICY", b"HTTP/1.1\t"])
    writer.write(version + b" 200 OK\r\nContent-Length: 2\r\n\r\n{}")


@asynccontextmanager
async def strangers() -> AsyncIterator[list[str]]:
    """Give a URL for each kind; a number behind it chooses what exactly it does."""
    serving: set[asyncio.Task[None]] = set()

    async def serve(answer: Behaviour, reader: asyncio.StreamReader, writer: Writer) -> None:
        task = asyncio.ensure_future(_serve(answer, reader, writer))
        serving.add(task)
        task.add_done_callback(serving.discard)
        await asyncio.wait({task})

    async with AsyncExitStack() as stack:
        stack.push_async_callback(_end, serving)
        urls = []
        for number, (name, answer) in enumerate(STRANGERS.items()):
            host = f"127.0.1.{number + 10}"
            server = await asyncio.start_server(partial(serve, answer), host, 0, family=socket.AF_INET, limit=2**23)
            stack.callback(server.close)
            urls.append(f"http://{host}:{server.sockets[0].getsockname()[1]}/{name}/")
        yield urls


@asynccontextmanager
async def taking_all() -> AsyncIterator[str]:
    """Give the URL of a receiver that takes whatever it is sent."""

    async def take(request: web.Request) -> web.Response:
        async for _ in request.content.iter_any():
            pass
        return web.Response()

    app = web.Application()
    app.router.add_post("/", take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.1.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}/"
    finally:
        await runner.cleanup()


async def _end(serving: set[asyncio.Task[None]]) -> None:
    while serving:
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
    for _ in range(3):  # so that those end who wait for them, and their connections are closed
        await asyncio.sleep(0)


async def _serve(answer: Behaviour, reader: asyncio.StreamReader, writer: Writer) -> None:
    try:
        async with asyncio.timeout(_LONGEST + 5):
            head = await reader.readuntil(b"\r\n\r\n")
            seed = head.split(b" ", 2)[1].rsplit(b"/", 1)[-1]
            await answer(random.Random(seed), writer)  # noqa: S311 - it is to be repeated
            await writer.drain()
            async with asyncio.timeout(_LINGER):  # else what was sent and not read would make a reset of our end
                while await reader.read(2**16):
                    pass
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
        pass  # it is the other side that matters
    finally:
        writer.close()


async def _flood(writer: Writer, data: bytes) -> None:
    for _ in range(_MOST // len(data)):
        writer.write(data)
        await writer.drain()
