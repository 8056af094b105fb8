"""Connections out, over which no request meets what was left by another.

aiohttp gives a connection back when an answer's end was read. That is not enough: bytes that came since then would be
taken for the answer to the next request, and a request that was answered before it was sent stays half written.
"""

import asyncio
import io
from functools import partial
from ssl import SSLCertVerificationError, SSLContext, SSLError
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import aiohttp
from aiohttp.client_proto import ResponseHandler

from callstream.contract.framing import is_mostly_framing
from callstream.runtime.ties import ties_of
from callstream.runtime.tls import ContextInTurns, Turn
from callstream.sharing.turns import Turns

_HEAD_LIMIT = 16 * 1024  # bytes before an answer's body, with the interim answers (1xx) before it
_INTERIM = 8  # of those that come at once; each is ten times as large in memory until it is read
FIELD_LIMIT = 8_190  # bytes of one header
FIELDS = 100  # headers of an answer
BUFFER = 8 * 1024  # bytes of an answer that wait to be read; twice that, and what came with it, before reading stops
RECEIVE_BUFFER = 32 * 1024  # bytes, of the system's, all of which may come at once; left to grow it holds megabytes
WORST = 192 * 1024  # bytes of memory that a connection takes beside what is read of it: head, buffers, gzip; measured
_PIECE = 64 * 1024  # bytes of a request's body that are written at once, as aiohttp reads files
_MOST_IDLE = 256  # connections that wait for the next request; with TLS each has 0.1 to 0.4 MiB
_GREETED = 10_000  # hosts
_LOOK_AGAIN = 0.02  # seconds
_CONTEXTS = 64  # of 12 KiB each


class AnswerError(aiohttp.ClientConnectionError):
    """What came is no answer to the request; the connection is closed."""


class _Protocol(ResponseHandler):
    """Takes one answer a request: nothing before the request, nothing behind the answer, no endless head or framing."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self.plain: asyncio.Transport | None = None  # below TLS
        self._cut_off = False  # with its end there was something that had not left
        self._room = 0  # bytes that the head may still have
        self._wire = 0  # bytes since the head
        self._expecting = False

    @property
    def holds(self) -> bool:
        """Whether something is still to be given to the system: TLS does not tell of what it has given on."""
        below = (self.transport, self.plain)
        return any(each is not None and each.get_write_buffer_size() > 0 for each in below)

    def _pause_transport_reading(self) -> None:
        """Stop below TLS as well, which else reads 256 KiB on, and drops them where the connection ends meanwhile."""
        super()._pause_transport_reading()
        if self.plain is not None and not self.plain.is_closing():
            self.plain.pause_reading()

    def _resume_transport_reading(self) -> None:
        super()._resume_transport_reading()
        if self.plain is not None:
            self._loop.call_soon(self._resume_plain)  # behind what TLS still holds, which it reads first

    def _resume_plain(self) -> None:
        if self.plain is not None and not (self._reading_paused or self._buffer_paused or self.plain.is_closing()):
            self.plain.resume_reading()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._cut_off = self.holds
        # TLS reads an end together with what came before it. That was stopped in the midst: it is read first.
        while self._reading_paused and self._parser is not None:
            self.resume_reading()
        super().connection_lost(exc)

    async def all_has_left(self) -> bool:
        """Wait until the system has got all that was sent; return whether it has."""
        while self.holds and self.transport is not None:  # noqa: ASYNC110 - no transport tells when that is so
            await asyncio.sleep(_LOOK_AGAIN)
        return not self._cut_off

    def set_response_params(self, **params: Any) -> None:  # noqa: ANN401 - as aiohttp has it
        self._room = _HEAD_LIMIT
        self._wire = 0
        self._expecting = True
        super().set_response_params(**params)

    def feed_data(self, data: tuple[Any, Any], size: int = 0) -> None:
        """Hand a message to who waits for it, once a request; 101 and all from 200 on end the head."""
        message, _ = data
        if not self._expecting:
            self.force_close()
            return
        self._expecting = message.code < 200 and message.code != 101  # noqa: PLR2004 - interim, as HTTP has it
        if len(self) > _INTERIM:
            self._expecting = False
            self._refuse(f"more than {_INTERIM} interim answers came at once")
        else:
            super().feed_data(data, size)

    def data_received(self, data: bytes) -> None:
        """Read on; aiohttp itself calls it with nothing to let its parser go on."""
        if self._expecting:
            # In no larger piece: a single one can hold ten thousand interim answers.
            head, data = data[: self._room], data[self._room :]
            self._room -= len(head)
            super().data_received(head)
            if self._expecting and not self._room:
                self._refuse(f"more than {_HEAD_LIMIT} bytes came before the answer's body")
            elif data:
                self._read_body(data)
        elif data and (self._payload is None or self._payload.is_eof()):
            self.force_close()  # nobody asked for this
        else:
            self._read_body(data)

    def _read_body(self, data: bytes) -> None:
        super().data_received(data)
        self._wire += len(data)
        # A parser that was stopped has not counted all of it yet.
        if self._reading_paused or self._payload is None:
            return
        if is_mostly_framing(self._wire, self._payload.total_bytes):
            self._refuse("the chunks are too small, or what comes with them too large")

    def close(self) -> None:
        """Close at once where something is left, either way, or TLS would say goodbye: else the peer says how long."""
        if self.holds or self.should_close or self.plain is not None:
            self.abort()
        else:
            super().close()

    def _refuse(self, why: str) -> None:
        error = AnswerError(why)
        if self._payload is not None:  # first: with the connection's end it would say just that it is not complete
            self._payload.set_exception(error)
        self.abort()
        self.set_exception(error)


class Connector(aiohttp.TCPConnector):
    """Gives a request a connection on which nothing has been left: a new one each time unless `reuse`.

    What TLS has to compute for a server comes one at a turn of the loop, one registered domain after the other, and for
    hosts that had a handshake before apart from the others: a handshake may take some hundredths of a second, and
    servers choose when.
    """

    def __init__(self, *, reuse: bool, **settings: Any) -> None:  # noqa: ANN401 - as aiohttp has it
        super().__init__(force_close=not reuse, **settings)
        # No public name; the tests on raw sockets fail if it becomes another.
        self._factory = partial(_Protocol, loop=asyncio.get_running_loop())  # type: ignore[assignment] # a subclass's
        self._used: WeakSet[ResponseHandler] = WeakSet()
        self._idle: WeakKeyDictionary[ResponseHandler, None] = WeakKeyDictionary()  # what has been so for longest first
        self._greeted: dict[str, None] = {}  # hosts that a handshake was had with, the last one last
        self._contexts: list[ContextInTurns] = []  # that serve no handshake
        self._handshakes, self._first_handshakes = Turns(), Turns()

    async def connect(self, *request: Any, **more: Any) -> aiohttp.connector.Connection:  # noqa: ANN401 - likewise
        """Return a connection that is as it should be.

        Raises:
            AnswerError: the server speaks before it is asked.
        """
        while True:
            connection = await super().connect(*request, **more)
            protocol = connection.protocol
            assert protocol is not None  # noqa: S101 - for mypy; it has just been given out
            self._idle.pop(protocol, None)
            if not protocol.should_close:
                self._used.add(protocol)
                return connection
            new = protocol not in self._used
            connection.close()
            if new:
                raise AnswerError("the server spoke before it was asked")

    async def _wrap_create_connection(
        self,
        *args: Any,  # noqa: ANN401 - likewise
        req: aiohttp.ClientRequest,
        ssl: SSLContext | None = None,
        server_hostname: str | None = None,
        **more: Any,  # noqa: ANN401 - likewise
    ) -> tuple[asyncio.Transport, ResponseHandler]:
        """Open the connection below TLS first, so that it is at hand: to be aborted, and asked what has left."""
        plain, protocol = await super()._wrap_create_connection(*args, req=req, **more)
        if ssl is None:
            return plain, protocol
        assert isinstance(protocol, _Protocol)  # noqa: S101 - for mypy; the factory makes no others
        host = req.url.raw_host or ""
        turns = self._handshakes if host in self._greeted else self._first_handshakes
        protocol.plain = plain
        try:
            _check_open(plain)  # or the loop would take the end that came already for a good one
            context = self._contexts.pop() if self._contexts else ContextInTurns(ssl)
            context.ask = Turn(turns, ties_of(str(req.url.origin()))[-1].name, plain)
            transport = await self._loop.start_tls(plain, protocol, context, server_hostname=server_hostname)
            _check_open(plain)
            assert transport is not None  # noqa: S101 - for mypy; else there was an error
            protocol.connection_made(transport)
        except BaseException as error:
            plain.abort()  # which nobody else does where we are cancelled: TLS would say goodbye for 30 s
            match error:
                case SSLCertVerificationError():
                    raise aiohttp.ClientConnectorCertificateError(req.connection_key, error) from error
                case SSLError():
                    raise aiohttp.ClientConnectorSSLError(req.connection_key, error) from error
                case OSError():
                    raise aiohttp.ClientConnectorError(req.connection_key, error) from error
            raise
        if len(self._contexts) < _CONTEXTS:
            self._contexts.append(context)
        self._greeted.pop(host, None)
        self._greeted[host] = None
        if len(self._greeted) > _GREETED:
            del self._greeted[next(iter(self._greeted))]
        return transport, protocol

    def _release(self, key: Any, protocol: ResponseHandler, *, should_close: bool = False) -> None:  # noqa: ANN401 - likewise
        super()._release(key, protocol, should_close=should_close)
        if protocol.is_connected():
            self._idle[protocol] = None
        while len(self._idle) > _MOST_IDLE:
            oldest = next(iter(self._idle))
            del self._idle[oldest]
            oldest.abort()


class Request(aiohttp.ClientRequest):
    """A request whose body, if large, leaves in pieces: TLS would take it whole, and then say that nothing is left."""

    def update_body_from_data(self, body: Any, *more: Any, **options: Any) -> None:  # noqa: ANN401 - as aiohttp has it
        if isinstance(body, bytes) and len(body) > _PIECE:
            body = io.BytesIO(body)
        super().update_body_from_data(body, *more, **options)


class Response(aiohttp.ClientResponse):
    """An answer whose connection serves no other request if its own had not left by then."""

    async def start(self, connection: aiohttp.connector.Connection) -> aiohttp.ClientResponse:
        """Wait for the answer's head."""
        protocol = connection.protocol
        assert isinstance(protocol, _Protocol)  # noqa: S101 - for mypy; the connector makes no others
        await self._start(connection, protocol)
        # A writer that is still there will be cancelled, and one that has not begun notices nothing of that.
        if self._writer is not None or protocol.holds:
            protocol.force_close()
        # The library wants text that can be encoded, and a reason may be in any encoding, or none.
        self.reason = (self.reason or "").encode("ascii", "ignore").decode()
        return self

    async def _start(self, connection: aiohttp.connector.Connection, _: _Protocol) -> None:
        await super().start(connection)


class Receipt(Response):
    """An answer by which a server says, with 2xx, that it has what was sent: it counts when the request has left."""

    _sending = False  # the request, of which the answer's end cancels what is left

    async def _start(self, connection: aiohttp.connector.Connection, protocol: _Protocol) -> None:
        """Wait for the request's end, too, where the answer takes it for granted.

        Raises:
            AnswerError: the connection ended before.
        """
        writer, stream = self._writer, self._stream_writer
        self._sending = True
        await super()._start(connection, protocol)
        if self.status // 100 == 2:  # noqa: PLR2004 - success, as HTTP has it
            await _sent(protocol, writer, stream)
        self._sending = False
        if self.content.is_eof():
            self._response_eof()

    def _response_eof(self) -> None:
        if not self._sending:
            super()._response_eof()


async def _sent(protocol: _Protocol, writer: asyncio.Task[None] | None, stream: Any) -> None:  # noqa: ANN401 - aiohttp's
    """Return when `writer` has given all to the transport, by way of `stream`, and that all to the system."""
    if writer is not None:
        await asyncio.wait([writer])
    has_come_to_its_end = writer is None or stream._eof  # noqa: SLF001 - it has no public name
    if not (has_come_to_its_end and await protocol.all_has_left()):
        raise AnswerError("it was answered, but the connection ended before all of the request had left")


def _check_open(plain: asyncio.Transport) -> None:
    if plain.is_closing():
        raise ConnectionResetError
