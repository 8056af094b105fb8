"""Where a connection leads to is seen before it is made, so that many names of one address are one for the room."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from ipaddress import IPv4Network
from socket import AddressFamily
from unittest.mock import patch

from aiohttp.abc import AbstractResolver, ResolveResult

from callstream.runtime.egress import EgressGuard
from callstream.runtime.http import open_client, open_transport
from callstream.runtime.settings import Egress
from stream_app.delivery import HttpDelivery
from stream_app.outcome import Delivered, Outcome
from stream_app.receivers import Busy, Limits, Receivers
from tests.support.waiting import eventually

LIMITS = Limits(in_flight=8, queue=8, total=64, size=2**20, largest=2**17, failures=5, pauses=[timedelta(seconds=5)])
LOOPBACK = (IPv4Network("127.0.0.0/8"),)


class Resolver(AbstractResolver):
    """Names with `many` in them lead to one address, all others to another."""

    async def resolve(
        self, host: str, port: int = 0, family: AddressFamily = AddressFamily.AF_INET
    ) -> list[ResolveResult]:
        address = "127.0.0.2" if "many" in host else "127.0.0.3"
        return [{"hostname": host, "host": address, "port": port, "family": family, "proto": 0, "flags": 0}]

    async def close(self) -> None: ...


class Server:
    """Keeps silent on one address and answers on the other."""

    def __init__(self) -> None:
        self.asked = 0
        self._end = asyncio.Event()

    async def _silent(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.asked += 1
        await self._end.wait()
        writer.close()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        writer.close()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[int]:
        async with await asyncio.start_server(self._silent, "127.0.0.2", 0) as silent:
            port: int = silent.sockets[0].getsockname()[1]
            async with await asyncio.start_server(self._answers, "127.0.0.3", port):
                yield port
                self._end.set()


async def test_names_of_one_address_that_hangs_leave_the_room_to_another() -> None:
    server, receivers = Server(), Receivers(LIMITS)
    async with server.running() as port:
        with patch("callstream.runtime.egress.Names", Resolver):
            async with open_transport(100, EgressGuard(Egress(allow=LOOPBACK))) as transport:
                delivery = HttpDelivery(transport, timedelta(seconds=30))

                async def ask(host: str) -> Outcome | Busy:
                    async def attempt() -> Outcome:
                        return await delivery.attempt(f"http://{host}:{port}/", b"{}", {})

                    return await receivers.ask(f"http://{host}:{port}", attempt, size=2, fresh=True)

                hanging = [asyncio.ensure_future(ask(f"many-{number}")) for number in range(40)]
                turned_away, _ = await asyncio.wait(hanging, return_when=asyncio.FIRST_COMPLETED, timeout=10)
                assert {type(task.result()) for task in turned_away} == {Busy}
                found = [await ask(f"n.new-{number}.example") for number in range(5)]
                assert found == [Delivered(200)] * 5
                assert server.asked <= LIMITS.total // 2
                for task in hanging:
                    task.cancel()
                await asyncio.gather(*hanging, return_exceptions=True)


async def test_single_use_names_of_one_address_that_hangs_leave_connections_for_fetches_from_another() -> None:
    server = Server()
    async with server.running() as port:
        with patch("callstream.runtime.egress.Names", Resolver):
            async with open_client(60, EgressGuard(Egress(allow=LOOPBACK))) as client:
                hanging = [
                    asyncio.ensure_future(client.get(f"http://n.many-{number}.example:{port}/"))
                    for number in range(200)
                ]
                await eventually(lambda: server.asked >= 20)
                for number in range(20):
                    async with asyncio.timeout(10):  # of the 30 s that one of those holds its connection
                        answer = await client.get(f"http://n.new-{number}.example:{port}/")
                    assert answer.status_code == 200
                assert not any(task.done() for task in hanging)
                for task in hanging:
                    task.cancel()
                await asyncio.wait(hanging)
