"""HTTP out: httpx's API over aiohttp's transport, which is ten times as fast as httpx's own."""

import asyncio
import errno
import os
import re
import ssl
import traceback
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, nullcontext
from functools import partial

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

import callstream
from callstream.contract.framing import is_framing
from callstream.runtime.connections import BUFFER, FIELD_LIMIT, FIELDS, Connector, Receipt, Request, Response
from callstream.runtime.cookies import NoCookieJar, NoCookies
from callstream.runtime.egress import (
    AddressRefusedError,
    AddressTakenError,
    EgressGuard,
    GuardedResolver,
    dials_seen_by,
)
from callstream.runtime.logs import get_logger
from callstream.runtime.places import Place, Places
from callstream.runtime.tls import client_context
from callstream.sharing.cut_short import CutShortError

log = get_logger()
USER_AGENT = f"callstream/{callstream.__version__}"
_CUT = "the connection was needed for others"
_IDLE = 4.0  # seconds that a connection is kept for the next request; less than servers keep theirs (5 and more)
_WORDS = {
    errno.ECONNREFUSED: "refused",
    errno.ECONNRESET: "reset",
    errno.ECONNABORTED: "reset",
    errno.EPIPE: "reset",
    errno.EHOSTUNREACH: "no route",
    errno.ENETUNREACH: "no route",
    errno.ETIMEDOUT: "timed out",
}


class AddressForbiddenError(httpx.ConnectError):
    """The URL leads to `address` (with its port), which the guard refuses; the text may be told outside."""

    def __init__(self, address: str, request: httpx.Request) -> None:
        super().__init__("the url's address is not allowed", request=request)
        self.address = address


class _Transport(AiohttpTransport):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer as httpx's own transport does, also where the library lets aiohttp's errors through."""
        try:
            return await super().handle_async_request(request)
        except httpx.UnsupportedProtocol:
            raise
        except httpx.TransportError as error:
            raise _translated(error, request) from error
        except aiohttp.ClientError as error:  # such as an answer that is not HTTP
            raise httpx.RemoteProtocolError(f"{type(error).__name__}: {error}", request=request) from error
        except ValueError as error:  # a header that cannot be sent, a name that cannot be looked up
            raise httpx.LocalProtocolError(f"{type(error).__name__}: {error}", request=request) from error


class SharedTransport(httpx.AsyncBaseTransport):
    """Sends a request when there is a place for its host, which it holds until the answer is closed.

    Where it is not to keep that place it is sent once more: before its connection is there, because as many as may are
    under way at the address that it leads to, or after a second without an answer, because it holds what is for others.

    Who calls may give a context manager as the request's extension `waiting`, for the time until then. With the
    extension `cut_short` an answer that has begun may be cut short as well: reading it raises `CutShortError`, and the
    request may be sent again. Its value says whether it was so before: then it waits among those that are silent.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport, connections: int) -> None:
        self._transport = transport
        self._places = Places(connections)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        waiting = request.extensions.get("waiting", nullcontext)
        cut_before = bool(request.extensions.get("cut_short"))
        while True:
            with waiting():
                place = await self._places.take(request.url.raw_host.decode(), cut_before=cut_before)
            if (response := await self._sent(request, place)) is not None:
                return response
            cut_before |= place.overdue

    async def _sent(self, request: httpx.Request, place: Place) -> httpx.Response | None:
        """Return the answer; None where the place could not be kept, and the request is to wait for another."""
        limit = asyncio.timeout(None)
        if isinstance(request.stream, httpx.ByteStream):  # which can be sent once more
            place.cut = partial(limit.reschedule, 0.0)

        def dials(address: str) -> None:
            if not self._places.dials(place, address):
                raise AddressTakenError

        try:
            async with limit:
                with dials_seen_by(dials):
                    response = await self._transport.handle_async_request(request)
        except BaseException as error:
            self._places.give(place)
            cut_short = limit.expired() and isinstance(error, TimeoutError)
            if cut_short or (place.turned_back and isinstance(error, httpx.TransportError)):
                return None
            raise
        place.cut, place.turned_back, place.overdue = None, False, False
        assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101 - for mypy; the transport is async
        response.stream = _HeldStream(
            response, response.stream, place, self._places, may_be_cut="cut_short" in request.extensions
        )
        return response


class _HeldStream(httpx.AsyncByteStream):
    """An answer's body, which gives its place back once, when it is closed or nobody has it any more.

    While its reader is busy with a piece, such as until there is room for it, the place's clock stands still.

    httpx lets an answer and its stream hold each other: all that the connection had would stay until a collection.
    """

    def __init__(
        self,
        response: httpx.Response,
        stream: httpx.AsyncByteStream,
        place: Place,
        places: Places,
        *,
        may_be_cut: bool,
    ) -> None:
        self._response = weakref.ref(response)
        self._may_be_cut = may_be_cut
        self._place = place
        self._places = places
        self._stream = stream
        self._give = weakref.finalize(self, places.give, place)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        pieces = aiter(self._stream)
        while (piece := await self._next(pieces)) is not None:
            self._places.pause(self._place)
            yield piece
            self._places.resume(self._place)
        self._place.answered = True

    async def _next(self, pieces: AsyncIterator[bytes]) -> bytes | None:
        if not self._may_be_cut:
            return await anext(pieces, None)
        limit = asyncio.timeout(None)
        try:
            async with limit:
                self._place.cut = partial(limit.reschedule, 0.0)
                piece = await anext(pieces, None)
        except TimeoutError as error:
            if limit.expired():
                raise CutShortError(_CUT) from error
            raise
        finally:
            self._place.cut = None
        if piece is not None and self._place.overdue:  # it came in the same turn of the loop, or pieces come in each
            raise CutShortError(_CUT)
        return piece

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            self._give()
            if (response := self._response()) is not None:
                response.stream = httpx.ByteStream(b"")


def _translated(error: httpx.TransportError, request: httpx.Request) -> httpx.TransportError:
    """Return an error whose text begins with a word for what happened and names no address that was dialled."""
    causes = list(_causes(error))
    for cause in causes:
        traceback.clear_frames(cause.__traceback__)  # which hold it, and what had come by then, until a collection
    for cause in causes:
        if isinstance(cause, AddressRefusedError):
            log.warning("address.refused", address=cause.address, host=request.url.host)
            return AddressForbiddenError(cause.address, request)
    # ConnectTimeout is the library's word for every lost connection; we set no limit that could be hit.
    kind = httpx.ConnectError if isinstance(error, httpx.ConnectTimeout) else type(error)
    text = next((text for cause in causes for text in _texts(cause)), str(error))
    return kind(text, request=request)


def _texts(cause: BaseException) -> Iterator[str]:
    """Yield what is said of `cause`, if there is anything to say."""
    match cause:
        case aiohttp.ClientConnectorDNSError():
            yield f"dns: {cause.os_error.strerror or cause.os_error}"
        case ssl.SSLCertVerificationError(verify_message=str(message)):
            yield f"tls: {message}"
        case ssl.SSLError(reason=str(reason)):
            yield f"tls: {reason}"
        case aiohttp.ServerDisconnectedError() | ConnectionResetError(errno=None):
            yield "disconnected: the connection ended without an answer"
        case OSError(errno=number) if number in _WORDS:
            yield f"{_WORDS[number]}: {os.strerror(number)}"
        case OSError(errno=None) if words := _merged(str(cause)):
            yield f"{', '.join(words)}: each of the name's addresses in its own way"


def _merged(text: str) -> list[str]:
    """Return the words for the errors of several addresses, of which aiohappyeyeballs leaves only the text."""
    numbers = (int(number) for number in re.findall(r"\[Errno (\d+)\]", text))
    return list(dict.fromkeys(_WORDS[number] for number in numbers if number in _WORDS))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error := error and error.__cause__:
        yield error


@asynccontextmanager
async def open_transport(
    connections: int, guard: EgressGuard, *, reuse: bool = True
) -> AsyncIterator[httpx.AsyncBaseTransport]:
    """Open a transport for at most `connections` at once, to addresses that `guard` lets through.

    With `reuse` a connection serves one request after the other, and an answer of 2xx counts when its request has left;
    else it serves no more than one. The transport follows no redirect, keeps no cookie, reads no proxy or credentials
    from the environment, decodes no body, and sets no time limit: the caller's deadline spans everything.
    """
    resolver = GuardedResolver(guard)
    connector = Connector(
        reuse=reuse,
        limit=connections,
        keepalive_timeout=_IDLE if reuse else None,
        use_dns_cache=False,
        ssl=client_context(),
        resolver=resolver,
        socket_factory=guard.socket,
    )
    session = aiohttp.ClientSession(
        connector=connector,
        cookie_jar=NoCookieJar(),
        headers={"user-agent": USER_AGENT},
        request_class=Request,
        response_class=Receipt if reuse else Response,
        trust_env=False,
        max_line_size=FIELD_LIMIT,
        max_field_size=FIELD_LIMIT,
        max_headers=FIELDS,
        read_bufsize=BUFFER,
    )
    try:
        async with session:
            yield _Transport(client=session, trust_env=False)
    finally:
        await resolver.close()


@asynccontextmanager
async def open_client(connections: int, guard: EgressGuard) -> AsyncIterator[httpx.AsyncClient]:
    """Open a client over such a transport; what one answer sets, no other request sends.

    Its requests are made of what others sent, with their credentials: each has a connection of its own. What frames a
    request and what is between two ends of a connection is the transport's alone, whatever a handler says of it. Hosts
    share the connections, as `Places` has it.
    """
    async with (
        open_transport(connections, guard, reuse=False) as transport,
        httpx.AsyncClient(
            transport=SharedTransport(transport, connections),
            headers={"user-agent": USER_AGENT},
            cookies=NoCookies(),
            event_hooks={"request": [_leave_framing], "response": [_lead_nowhere]},
            follow_redirects=False,
            trust_env=False,
            timeout=None,  # noqa: S113 - the caller's
        ) as client,
    ):
        yield client


async def _lead_nowhere(response: httpx.Response) -> None:
    """Forget where an answer leads: httpx would make that request, also where it sends none, for up to 0.04 s."""
    response.headers.pop("location", None)


async def _leave_framing(request: httpx.Request) -> None:
    """Leave it to the transport, which knows the body and the connection, to frame the request."""
    for name in [name for name in request.headers if is_framing(name)]:
        del request.headers[name]
