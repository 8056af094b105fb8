"""HTTP out: httpx's API over aiohttp's transport, which is ten times as fast as httpx's own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

import callstream

USER_AGENT = f"callstream/{callstream.__version__}"
_IDLE = 15.0  # seconds that a connection is kept for the next request


class _Transport(AiohttpTransport):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer as httpx's own transport does, also where the library lets aiohttp's errors through."""
        try:
            return await super().handle_async_request(request)
        except httpx.ConnectTimeout as error:  # its word for every lost connection; we set no limit that could be hit
            raise httpx.ConnectError(str(error), request=request) from error
        except aiohttp.ClientError as error:  # such as an answer that is not HTTP
            raise httpx.RemoteProtocolError(f"{type(error).__name__}: {error}", request=request) from error
        except ValueError as error:  # a header that cannot be sent, a name that cannot be looked up
            raise httpx.LocalProtocolError(f"{type(error).__name__}: {error}", request=request) from error


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
        yield _Transport(client=session, trust_env=False)


@asynccontextmanager
async def open_client(connections: int) -> AsyncIterator[httpx.AsyncClient]:
    """Open a client over such a transport; what one answer sets, no other request sends."""
    no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    async with (
        open_transport(connections) as transport,
        httpx.AsyncClient(
            transport=transport,
            headers={"user-agent": USER_AGENT},
            cookies=no_cookies,
            follow_redirects=False,
            trust_env=False,
            timeout=None,  # noqa: S113 - the caller's
        ) as client,
    ):
        yield client
