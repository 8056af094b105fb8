"""HTTP out: httpx's API over aiohttp's transport, which is ten times as fast as httpx's own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

import callstream

USER_AGENT = f"callstream/{callstream.__version__}"
_IDLE = 15.0  # seconds that a connection is kept for the next request


@asynccontextmanager
async def open_transport(connections: int) -> AsyncIterator[httpx.AsyncBaseTransport]:
    """Open a transport for at most `connections` at once.

    It follows no redirect, keeps no cookie, reads no proxy or credentials from the environment, decodes no body, and
    sets no time limit: the caller's deadline spans everything.
    """
    connector = aiohttp.TCPConnector(limit=connections, keepalive_timeout=_IDLE, use_dns_cache=False)
    session = aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), headers={"user-agent": USER_AGENT}, trust_env=False
    )
    async with session:
        yield AiohttpTransport(client=session, trust_env=False)


@asynccontextmanager
async def open_client(connections: int) -> AsyncIterator[httpx.AsyncClient]:
    """Open a client over such a transport."""
    async with (
        open_transport(connections) as transport,
        httpx.AsyncClient(transport=transport, follow_redirects=False, trust_env=False, timeout=None) as client,  # noqa: S113 - the caller's
    ):
        yield client
