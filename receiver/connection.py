"""A connection that the application can drop: ASGI knows no way to give no answer."""

import asyncio

from starlette.requests import Request
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_GRACE = 0.5  # seconds that a call under way has when the server stops


class DroppableConnection(HttpToolsProtocol):
    transport: asyncio.Transport

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"]["drop_connection"] = self.transport.abort

    def shutdown(self) -> None:
        super().shutdown()
        self.loop.call_later(_GRACE, self.transport.abort)  # a call that hangs would hold the server for ever


async def drop(request: Request) -> None:
    request.state.drop_connection()
    await wait_until_gone(request)


async def wait_until_gone(request: Request) -> None:
    """Return when the connection is closed, from either side; the body must have been read before."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
