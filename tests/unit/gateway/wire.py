"""A connection to the gateway's application without a network: bytes in, bytes out."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import httptools
import uvicorn
from uvicorn.server import ServerState

from gateway.budget import Budget
from gateway.connections import Connections, Limits
from gateway.http_protocol import HttpProtocol
from tests.support.waiting import eventually

LIMITS = Limits(connections=100, client_connections=100, arrival=60, idle=60, closing=60)


class Wire(asyncio.Transport):
    """The client's end of one connection; `stuck` takes no answer."""

    def __init__(self, client: str, *, stuck: bool = False) -> None:
        super().__init__({"peername": (client, 1), "sockname": ("10.0.0.1", 80)})
        self.sent = b""
        self.stuck = stuck
        self.ended = self.aborted = self.told_end = self.paused = False
        self.protocol: HttpProtocol

    def say(self, *parts: bytes) -> "Wire":
        for part in parts:
            self.protocol.data_received(part)
        return self

    async def answer(self) -> "Answer":
        answer: Answer = await eventually(self._answer)
        return answer

    async def end(self) -> None:
        await eventually(lambda: self.ended)

    @property
    def closes(self) -> bool:
        """Whether the gateway sends nothing more."""
        return self.ended or self.told_end

    def _answer(self) -> "Answer | None":
        answer = Answer()
        answer.feed(self.sent)
        return answer if answer.complete else None

    def write(self, data: Any) -> None:
        if self.told_end:
            raise RuntimeError("Cannot call write() after write_eof()")
        self.sent += bytes(data)

    def get_write_buffer_size(self) -> int:
        return int(self.stuck)

    def write_eof(self) -> None:
        self.told_end = True

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def is_closing(self) -> bool:
        return self.ended

    def close(self) -> None:
        if not self.ended:
            self.ended = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    def abort(self) -> None:
        self.aborted = True
        self.close()


class Answer:
    """The first answer among bytes."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.complete = False
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode()] = value.decode()

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.status = self._parser.get_status_code()
        self.complete = True


class Server:
    """The gateway's protocol before an application, with room for `budget` bytes."""

    def __init__(self, app: Any, limits: Limits = LIMITS, budget: int = 10**6) -> None:
        self.budget = Budget(budget)
        self.connections = Connections(limits)
        self.config = uvicorn.Config(app, lifespan="off", log_config=None, access_log=False, server_header=False)
        self.config.load()
        self._connect = partial(HttpProtocol, self.connections, self.budget)
        self._state = ServerState()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        """Serve sockets too; give the port."""
        make = partial(self._connect, config=self.config, server_state=self._state, app_state={})
        server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
        async with server:
            yield server.sockets[0].getsockname()[1]

    def connect(self, client: str = "192.0.2.1", *, stuck: bool = False) -> Wire:
        wire = Wire(client, stuck=stuck)
        wire.protocol = self._connect(config=self.config, server_state=self._state, app_state={})
        wire.protocol.connection_made(wire)
        return wire
