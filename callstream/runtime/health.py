"""Health over HTTP, for processes that serve nothing else: `/health/live` and `/health/ready`."""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

_STOP = 1.0  # seconds in which a question under way must be answered when the block ends
Check = Callable[[], Awaitable[str | None]]  # what is the trouble; None if there is none


@asynccontextmanager
async def health_server(listener: socket.socket | None, *, live: Check, ready: Check) -> AsyncIterator[None]:
    """Answer on `listener`, where there is one, for the length of the block: 200, or 503 with the trouble."""
    if listener is None:
        yield
        return
    app = web.Application()
    app.add_routes([_route("live", live), _route("ready", ready)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_STOP)
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        yield
    finally:
        await runner.cleanup()


def _route(state: str, check: Check) -> web.RouteDef:
    async def answer(_: web.Request) -> web.Response:
        trouble = await check()
        if trouble is None:
            return web.json_response({"state": state})
        problem = {"type": "about:blank", "title": "Service Unavailable", "status": 503, "detail": trouble}
        return web.json_response(problem, status=503, content_type="application/problem+json")

    return web.get(f"/health/{state}", answer)
