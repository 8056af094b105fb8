"""Whom an attack blames for no answer: the gateway where it owes one, and nobody where the machine had no time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from tests.attack import target
from tests.attack.target import Target, request

ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"
Gateway = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "TURNS", 2)
    monkeypatch.setattr(target, "TURN", 0.05)


@asynccontextmanager
async def attacked(gateway: Gateway) -> AsyncIterator[Target]:
    """Let `gateway` answer each connection, which closes when the attack is told enough."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await gateway(reader, writer)
            await reader.read()
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        yield Target(host, port, "", "", [], 0, 0, 0, [], "", {})


async def is_health(reader: asyncio.StreamReader) -> bool:
    return (await reader.readuntil(b"\r\n\r\n")).startswith(b"GET /health/live ")


async def test_one_answer_that_is_missing_beside_others_is_told() -> None:
    async def lost(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await is_health(reader):
            writer.write(ANSWER)

    async with attacked(lost) as there:
        assert (await there.post("/", b"")).status == 0
    assert len(there.holes) == 1
    assert "no answer" in there.holes[0]


async def test_a_gateway_that_answers_nothing_any_more_is_told() -> None:
    async def hangs(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await is_health(reader)

    async with attacked(hangs) as there:
        await there.post("/", b"")
    assert len(there.holes) == 1


async def test_an_answer_that_comes_with_those_to_later_requests_is_in_time() -> None:
    asked = asyncio.Event()

    async def without_a_core(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await is_health(reader):
            asked.set()
        await asked.wait()
        writer.write(ANSWER)

    async with attacked(without_a_core) as there:
        assert (await there.post("/", b"")).status == 204
    assert not there.holes


async def test_an_answer_is_not_missed_by_a_loop_that_was_held_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that is far on at each look, as after a machine's halt, lets one turn pass."""
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(target, "TURN", 10.0)
    clock, ahead = loop.time, 0.0
    monkeypatch.setattr(loop, "time", lambda: clock() + ahead)

    async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal ahead
        await is_health(reader)
        ahead = 1_000.0
        loop.call_soon(writer.write, ANSWER)

    async with attacked(answers) as there:
        assert (await there.send(request("/", b""))).status == 204
    assert not there.holes


async def test_a_gateway_that_closes_has_answered() -> None:
    async def closes(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with attacked(closes) as there:
        assert (await there.post("/", b"")).status == 0
    assert not there.holes
    assert there.answers == {"closed": 1}
