"""What fetches bring does not take more memory than the chart gives a `tasks` process, by far."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the most memory that a process had")

MIB = 2**20
LISTS = b"[" + b",".join([b"[]"] * (MIB // 3 - 1)) + b"]"
LIMIT = 256 * MIB  # of the 512 MiB that the chart gives


@asynccontextmanager
async def serving(answer: bytes | None, fields: bytes = b"") -> AsyncIterator[str]:
    """Give each request `answer`; without one, none and no end."""
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            if answer is None:
                await reader.read()
            else:
                writer.write(b"HTTP/1.1 200 OK\r\n%bcontent-length: %d\r\n\r\n%b" % (fields, len(answer), answer))
                await writer.drain()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.create_task(serve(reader, writer)))

    listening = await asyncio.start_server(begin, "127.0.0.1", backlog=1_000)
    async with listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
        if serving:
            await asyncio.wait(serving, timeout=5)


async def working(url: str, requests: int, items: int, *, tiny: int = 0, seconds: float = 60) -> Any:
    numbers = map(str, (requests, items, tiny, seconds))
    program = (sys.executable, "-m", "tests.support.tasks_memory", url, *numbers)
    process = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert process.returncode == 0
    return json.loads(out.splitlines()[-1])


@pytest.mark.parametrize(("requests", "items"), [(1, 3), (6, 12)])
async def test_answers_of_many_tiny_values_take_no_more_than_their_bytes(requests: int, items: int) -> None:
    async with serving(LISTS) as url:
        found = await working(url, requests, items)
    assert found["written"] == requests
    assert found["peak"] < LIMIT


async def test_connections_that_hold_all_that_they_may_take_no_more_than_is_counted_for_them() -> None:
    fields = b"".join(b"h%d: %b\r\n" % (number, b"x" * 155) for number in range(95))
    async with serving(b"[" * MIB, fields) as url:
        found = await working(url, 110, 10, seconds=6)
    assert found["peak"] < LIMIT


async def test_requests_of_as_many_items_as_are_allowed_may_hang() -> None:
    async with serving(None) as url:
        found = await working(url, 20, 1_000, seconds=3)
    assert found["peak"] < LIMIT


async def test_as_many_requests_of_tiny_items_as_are_begun_take_no_more_than_the_chart_gives() -> None:
    async with serving(None) as url:
        found = await working(url, 1_500, 10, tiny=990, seconds=2)
    assert found["under_way"] == 1_500, "three quarters of what may be, as this is one type of two"
    assert found["peak"] < 448 * MIB, "with what fetches may bring, which is counted beside it, that is all"
