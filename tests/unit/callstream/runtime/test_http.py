"""HTTP out keeps nothing between requests, and every trouble is an error of httpx."""

import asyncio
import errno
import gc
import os
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp
import httpx
import pytest
import yarl
from aiohttp.client_reqrep import ConnectionKey
from httpx_aiohttp import AiohttpTransport

import callstream
from callstream.runtime.egress import AddressRefusedError, EgressGuard, GuardedResolver
from callstream.runtime.http import AddressForbiddenError, open_client, open_transport
from callstream.runtime.settings import Egress

URL = "http://api.example/"
KEY = ConnectionKey("api.example", 80, is_ssl=False, ssl=True, proxy=None, proxy_auth=None, proxy_headers_hash=None)
GUARD = EgressGuard(Egress())
CERTIFICATE = ssl.SSLCertVerificationError(1, "certificate verify failed: self-signed certificate (_ssl.c:1006)")
CERTIFICATE.verify_message = "self-signed certificate"
NOT_TLS = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)")
NOT_TLS.reason = "WRONG_VERSION_NUMBER"


async def no_content() -> AsyncIterator[bytes]:
    """Be a body that is streamed, as one from the network is."""
    for piece in (b"",):
        yield piece


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with open_client(1, GUARD) as client:
        yield client


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[httpx.Request]:
    """Answer every request with a cookie and a redirect; return those that were made."""
    made: list[httpx.Request] = []

    async def answer(_: AiohttpTransport, request: httpx.Request) -> httpx.Response:
        made.append(request)
        headers = {"set-cookie": "session=secret; Path=/", "location": "/elsewhere"}
        return httpx.Response(302, headers=headers, content=no_content())

    monkeypatch.setattr(AiohttpTransport, "handle_async_request", answer)
    return made


async def test_what_one_answer_sets_no_other_request_sends(
    client: httpx.AsyncClient, requests: list[httpx.Request]
) -> None:
    for _ in range(2):
        await client.get(URL)
    assert [request.headers.get("cookie") for request in requests] == [None, None]


async def test_no_cookie_is_read(
    client: httpx.AsyncClient, requests: list[httpx.Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A field of 16 KiB can be made so that the standard library's parser holds the loop for 0.1 s."""
    monkeypatch.setattr("http.cookiejar.CookieJar.make_cookies", lambda *_: pytest.fail("read"))
    monkeypatch.setattr("aiohttp.abc.parse_set_cookie_headers", lambda *_: pytest.fail("read"))
    await client.get(URL)
    assert len(requests) == 1
    async with open_transport(1, GUARD, reuse=True) as transport:
        assert isinstance(transport, AiohttpTransport)
        assert isinstance(transport.client, aiohttp.ClientSession)
        transport.client.cookie_jar.update_cookies_from_headers(["session=secret"], yarl.URL(URL))


async def test_no_redirect_is_followed_nor_made(
    client: httpx.AsyncClient, requests: list[httpx.Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(httpx.AsyncClient, "_build_redirect_request", lambda *_: pytest.fail("made"))
    assert (await client.get(URL)).status_code == 302
    assert len(requests) == 1


async def test_a_request_says_who_sends_it(client: httpx.AsyncClient, requests: list[httpx.Request]) -> None:
    await client.get(URL)
    assert requests[0].headers["user-agent"] == f"callstream/{callstream.__version__}"


@pytest.mark.usefixtures("requests")
async def test_a_request_waits_for_a_place_until_the_answer_before_it_is_closed(client: httpx.AsyncClient) -> None:
    waits: list[str] = []

    @contextmanager
    def waiting() -> Iterator[None]:
        waits.append("begins")
        yield
        waits.append("ends")

    other = httpx.Request("GET", "http://other.example/", extensions={"waiting": waiting})
    answer = await client.send(httpx.Request("GET", URL), stream=True)
    sending = asyncio.create_task(client.send(other))
    await asyncio.sleep(0)
    assert (waits, sending.done()) == (["begins"], False)
    await answer.aclose()
    assert (await sending).status_code == 302
    assert waits == ["begins", "ends"]


async def test_a_request_that_fails_and_an_answer_that_nobody_has_give_their_place_back(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        with pytest.raises(httpx.HTTPError):
            await client.get("http://127.0.0.1/")

    async def answer(_: AiohttpTransport, __: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=no_content())

    monkeypatch.setattr(AiohttpTransport, "handle_async_request", answer)
    for _ in range(2):
        await client.send(httpx.Request("GET", URL), stream=True)
        gc.collect()


async def failure(monkeypatch: pytest.MonkeyPatch, error: Exception) -> Exception:
    """Return what a request ends in when aiohttp's connector raises `error`, its cause behind it as aiohttp has it."""

    async def fail(*_: Any, **__: Any) -> None:
        raise error from getattr(error, "os_error", None)

    monkeypatch.setattr(aiohttp.TCPConnector, "connect", fail)
    async with open_transport(1, GUARD) as transport:
        with pytest.raises(httpx.TransportError) as failed:
            await transport.handle_async_request(httpx.Request("POST", URL, content=b"{}"))
    return failed.value


async def test_the_resolver_ends_with_the_transport(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []

    async def close(_: GuardedResolver) -> None:
        ended.append("resolver")

    monkeypatch.setattr(GuardedResolver, "close", close)
    async with open_transport(1, GUARD):
        assert ended == []
    assert ended == ["resolver"]


@pytest.mark.parametrize(
    ("error", "translated"),
    [
        (aiohttp.ClientConnectorError(KEY, OSError(111, os.strerror(111))), httpx.ConnectError),
        (aiohttp.ClientConnectorDNSError(KEY, OSError(-2, "Name or service not known")), httpx.ConnectError),
        (aiohttp.ServerDisconnectedError(), httpx.ConnectError),
        (aiohttp.ClientPayloadError("broken off"), httpx.ReadError),
        (aiohttp.ClientError("an answer that is not HTTP"), httpx.RemoteProtocolError),
        (aiohttp.InvalidUrlClientError("127.1", "is not a canonical IPv4 address"), httpx.UnsupportedProtocol),
        (UnicodeError("label empty or too long"), httpx.LocalProtocolError),
        (ValueError("Newline in header"), httpx.LocalProtocolError),
    ],
)
async def test_every_trouble_is_an_error_of_httpx(
    monkeypatch: pytest.MonkeyPatch, error: Exception, translated: type[httpx.TransportError]
) -> None:
    assert type(await failure(monkeypatch, error)) is translated


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (aiohttp.ClientConnectorDNSError(KEY, OSError(None, "Domain name not found")), "dns: Domain name not found"),
        (aiohttp.ClientConnectorDNSError(KEY, OSError("DNS lookup failed")), "dns: DNS lookup failed"),
        (aiohttp.ClientConnectorCertificateError(KEY, CERTIFICATE), "tls: self-signed certificate"),
        (aiohttp.ClientConnectorSSLError(KEY, NOT_TLS), "tls: WRONG_VERSION_NUMBER"),
        *(
            (aiohttp.ClientConnectorError(KEY, OSError(number, "Connect call failed ('10.0.0.1', 80)")), text)
            for number, text in [
                (errno.ECONNREFUSED, "refused: Connection refused"),
                (errno.ECONNRESET, "reset: Connection reset by peer"),
                (errno.EHOSTUNREACH, "no route: No route to host"),
                (errno.ENETUNREACH, "no route: Network is unreachable"),
                (errno.ETIMEDOUT, "timed out: Connection timed out"),
            ]
        ),
        (aiohttp.ClientOSError(errno.ECONNRESET, "Connection reset by peer"), "reset: Connection reset by peer"),
        (aiohttp.ClientOSError(errno.EPIPE, "Broken pipe"), "reset: Broken pipe"),
        (aiohttp.ServerDisconnectedError(), "disconnected: the connection ended without an answer"),
        (
            aiohttp.ClientConnectorError(KEY, ConnectionResetError()),
            "disconnected: the connection ended without an answer",
        ),
        (
            aiohttp.ClientConnectorError(
                KEY,
                OSError(
                    "Multiple exceptions: [Errno 101] Connect call failed ('2600::1', 80, 0, 0), "
                    "[Errno 111] Connect call failed ('10.0.0.1', 80), [Errno 101] Connect call failed ('2600::2', 80)"
                ),
            ),
            "no route, refused: each of the name's addresses in its own way",
        ),
    ],
)
async def test_a_word_says_what_happened_and_no_address_that_was_dialled(
    monkeypatch: pytest.MonkeyPatch, error: Exception, text: str
) -> None:
    failed = await failure(monkeypatch, error)
    assert str(failed) == text
    assert type(failed) is httpx.ConnectError


async def test_what_has_no_word_keeps_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = await failure(monkeypatch, aiohttp.ClientConnectorError(KEY, OSError(24, "Too many open files")))
    assert str(failed) == "Cannot connect to host api.example:80 ssl:default [Too many open files]"


@pytest.mark.parametrize("kind", [aiohttp.ClientConnectorError, aiohttp.ClientConnectorDNSError])
async def test_a_refused_address_is_an_error_of_its_own_that_names_it_in_no_text(
    monkeypatch: pytest.MonkeyPatch, kind: type[aiohttp.ClientConnectorError]
) -> None:
    failed = await failure(monkeypatch, kind(KEY, AddressRefusedError("10.0.0.1:80")))
    assert isinstance(failed, AddressForbiddenError)
    assert failed.address == "10.0.0.1:80"
    assert str(failed) == "the url's address is not allowed"
