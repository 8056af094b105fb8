"""HTTP out keeps nothing between requests, and every trouble is an error of httpx."""

import os
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import httpx
import pytest
from aiohttp.client_reqrep import ConnectionKey
from httpx_aiohttp import AiohttpTransport

import callstream
from callstream.runtime.http import open_client, open_transport

URL = "http://api.example/"
KEY = ConnectionKey("api.example", 80, is_ssl=False, ssl=True, proxy=None, proxy_auth=None, proxy_headers_hash=None)


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with open_client(1) as client:
        yield client


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[httpx.Request]:
    """Answer every request with a cookie and a redirect; return those that were made."""
    made: list[httpx.Request] = []

    async def answer(_: AiohttpTransport, request: httpx.Request) -> httpx.Response:
        made.append(request)
        return httpx.Response(302, headers={"set-cookie": "session=secret; Path=/", "location": "/elsewhere"})

    monkeypatch.setattr(AiohttpTransport, "handle_async_request", answer)
    return made


async def test_what_one_answer_sets_no_other_request_sends(
    client: httpx.AsyncClient, requests: list[httpx.Request]
) -> None:
    for _ in range(2):
        await client.get(URL)
    assert [request.headers.get("cookie") for request in requests] == [None, None]


async def test_no_redirect_is_followed(client: httpx.AsyncClient, requests: list[httpx.Request]) -> None:
    assert (await client.get(URL)).status_code == 302
    assert len(requests) == 1


async def test_a_request_says_who_sends_it(client: httpx.AsyncClient, requests: list[httpx.Request]) -> None:
    await client.get(URL)
    assert requests[0].headers["user-agent"] == f"callstream/{callstream.__version__}"


@pytest.mark.parametrize(
    ("error", "translated"),
    [
        (aiohttp.ClientConnectorError(KEY, OSError(111, os.strerror(111))), httpx.ConnectError),
        (aiohttp.ClientConnectorDNSError(KEY, OSError(-2, "Name or service not known")), httpx.ConnectError),
        (aiohttp.ServerDisconnectedError(), httpx.ConnectError),
        (aiohttp.ClientPayloadError("broken off"), httpx.ReadError),
        (aiohttp.ClientError("an answer that is not HTTP"), httpx.RemoteProtocolError),
        (UnicodeError("label empty or too long"), httpx.LocalProtocolError),
        (ValueError("Newline in header"), httpx.LocalProtocolError),
    ],
)
async def test_every_trouble_is_an_error_of_httpx(
    monkeypatch: pytest.MonkeyPatch, error: Exception, translated: type[httpx.TransportError]
) -> None:
    async def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(aiohttp.TCPConnector, "connect", fail)
    async with open_transport(1) as transport:
        with pytest.raises(translated):
            await transport.handle_async_request(httpx.Request("POST", URL, content=b"{}"))
