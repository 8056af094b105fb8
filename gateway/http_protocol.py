"""uvicorn's HTTP/1.1 with limits: on a head's size and fields, on time, on connections and on bytes held."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import httptools
from starlette.status import (
    HTTP_400_BAD_REQUEST,
    HTTP_408_REQUEST_TIMEOUT,
    HTTP_431_REQUEST_HEADER_FIELDS_TOO_LARGE,
    HTTP_503_SERVICE_UNAVAILABLE,
)
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from callstream.contract.framing import is_mostly_framing
from gateway.budget import Budget
from gateway.connections import Connections, client_name
from gateway.refusals import RefusedRequestError, refusal
from gateway.upgrade import asks_for_upgrade, without_upgrade

_HEAD_LIMIT = 16 * 1024  # bytes of request line and fields
_FIELDS_LIMIT = 100
_LIGHT = 4 * 1024  # bytes of a whole request that are not counted: with as many connections as there may be, 4 MiB
_KEPT_A_BYTE = 2  # bytes that the fields of a head take for each byte of it
_FED_AT_ONCE = 16 * 1024  # bytes that the parser gets between two looks at what it made of them
_TOO_MUCH = "nothing was stored: too many bytes are under way"
ON_ITS_WAY = 2.0  # seconds in which a request that a client has sent, or is about to send, comes when we are to stop
_DROPPED_LIMIT = 8 * 2**20  # bytes that are read and dropped, so that the client comes to read its answer


@dataclass(slots=True)
class _Request:
    held: int = 0  # bytes reserved in the budget until the application has done with it
    at_work: bool = False  # the application has it


class _Transport:
    """The transport as uvicorn sees it, which closes when the protocol finds that it may."""

    def __init__(self, transport: asyncio.Transport, write: Callable[[bytes], None], close: Callable[[], None]) -> None:
        self.write = write
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading
        self.get_extra_info = transport.get_extra_info
        self.is_closing = transport.is_closing
        self.close = close


class HttpProtocol(HttpToolsProtocol):
    """One connection; one request at a time: who sends the next before the answer is served once and closed.

    What it refuses itself is a problem as the application's are. After an answer that was given before the request's
    end the connection closes.
    """

    def __init__(self, connections: Connections, budget: Budget, **uvicorns: Any) -> None:  # noqa: ANN401 - passed on
        super().__init__(**uvicorns)
        self._connections = connections
        self._budget = budget
        self._raw: asyncio.Transport
        self._name = ""  # the client's
        self._in_head = False  # the request line has begun, and the head is not complete
        self._receiving = False  # the same of the whole request
        self._head = self._fields = self._hosts = 0  # bytes, fields, fields named Host of the head
        self._wire = self._body = 0  # bytes since the head, and what was body of these
        self._request = _Request()  # the one that arrives, or came last
        self._keep_alive = False
        self._stopping = False  # the next answer is the last one
        self._deaf = False  # the answer under way is the last one, and what comes is not read
        self._closing = False
        self._dropped = 0  # bytes

    # The connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._raw = transport
        super().connection_made(_Transport(transport, self._write, self._close))  # type: ignore[arg-type]
        self._name = client_name(self.client)
        refusal = self._connections.enter(self)
        if refusal is not None:
            self._refuse(HTTP_503_SERVICE_UNAVAILABLE, refusal)

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self._connections.leave(self)
        self._budget.arrived(self)
        super().connection_lost(exc)
        if not self._request.at_work:
            self._release(self._request)

    def data_received(self, data: bytes) -> None:
        if self._closing:
            self._drop(len(data))
            return
        if len(data) <= _FED_AT_ONCE and not self._in_head:
            self._feed(data)
            return
        rest = memoryview(data)
        while rest and not self._closing and not self._deaf:
            room = min(_FED_AT_ONCE, _HEAD_LIMIT - self._head) if self._in_head else _FED_AT_ONCE
            self._feed(rest[:room])
            rest = rest[room:]

    def _feed(self, data: bytes | memoryview) -> None:
        was_receiving, was_in_head = self._receiving, self._in_head
        try:
            self._parse(data)
        except httptools.HttpParserError as error:
            self._malformed(error)
            return
        if was_in_head or not was_receiving:
            self._look_at_head(len(data))
        elif self._receiving:
            self._wire += len(data)
            if is_mostly_framing(self._wire, self._body):
                self._refuse(HTTP_400_BAD_REQUEST, "the chunks are too small, or what comes with them too large")

    def _parse(self, data: bytes | memoryview) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            rest = data[upgrade.args[0] :]
        else:
            return
        head = without_upgrade(self.parser, self.url, self.headers)
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's own
        self.parser.feed_data(head)
        self._parse(rest)

    def _look_at_head(self, size: int) -> None:
        """Look at the head of which `size` more bytes are there, or at the beginning of the body behind it."""
        if (self._receiving or (self._answering and size > _LIGHT)) and not self._reserve_head(_KEPT_A_BYTE * size):
            self._refuse(HTTP_503_SERVICE_UNAVAILABLE, _TOO_MUCH)
            return
        if not self._receiving:
            return
        self._head += size
        if not self._in_head:
            self._connections.arrives(self)  # the body has a time of its own
        elif self._head >= _HEAD_LIMIT:
            self._refuse(HTTP_431_REQUEST_HEADER_FIELDS_TOO_LARGE, f"the head is larger than {_HEAD_LIMIT} bytes")
        elif self._head == size:
            self._connections.arrives(self)

    def _reserve_head(self, kept: int) -> bool:
        if self._receiving:
            has_room = self._budget.reserve_arriving(self._name, kept, kept, self)
        else:
            has_room = self._budget.reserve(self._name, kept, kept)
        if has_room:
            self._request.held += kept
        return has_room

    # The parser's callbacks

    def on_message_begin(self) -> None:
        if self._answering:
            self._deaf = True
            self.cycle.keep_alive = False
            raise RefusedRequestError(HTTP_400_BAD_REQUEST, "one request at a time")
        super().on_message_begin()
        if self._request.at_work:
            self._request = _Request()
        self._in_head = self._receiving = True
        self._head = self._fields = self._hosts = self._wire = self._body = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields += 1
        if self._fields > _FIELDS_LIMIT:
            text = f"the head has more than {_FIELDS_LIMIT} fields"
            raise RefusedRequestError(HTTP_431_REQUEST_HEADER_FIELDS_TOO_LARGE, text)
        if not self._in_head:
            return  # a trailer: no field that we know may come after the body
        name = name.lower()
        if name == b"host":
            self._hosts += 1
        elif name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if asks_for_upgrade(self.parser):
            return
        self._check_head()
        super().on_headers_complete()
        self._in_head = False
        # An answer before the request's end says `Connection: close`, since what follows is still of this request.
        self._keep_alive = self.cycle.keep_alive and not self._stopping
        self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        cycle = self.cycle
        if cycle.response_complete:
            return
        size = len(body)
        self._body += size
        if not self._budget.reserve_arriving(self._name, size, self._body, self):
            raise RefusedRequestError(HTTP_503_SERVICE_UNAVAILABLE, _TOO_MUCH)
        self._request.held += size
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        if asks_for_upgrade(self.parser):
            return  # of a head that another parser is about to read
        self._receiving = False
        self._budget.arrived(self)
        if not self.flow.write_paused:  # else the client has yet to take the answer before
            self._connections.works(self)
        if not self.cycle.response_started:
            self.cycle.keep_alive = self._keep_alive
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if not self._closing:
            self.flow.resume_reading()
            self._connections.idles(self)

    def _check_head(self) -> None:
        version = self.parser.get_http_version()
        if version not in {"1.0", "1.1"}:
            raise RefusedRequestError(HTTP_400_BAD_REQUEST, "the version of HTTP must be 1.1 or 1.0")
        if self._hosts > 1 or (version == "1.1" and not self._hosts):
            raise RefusedRequestError(HTTP_400_BAD_REQUEST, "there must be one Host field")
        if self.parser.should_upgrade():
            raise RefusedRequestError(HTTP_400_BAD_REQUEST, "this is no proxy")

    # The application's task

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:  # noqa: ANN401 - passed on
        self._request.at_work = True
        task = self.loop.create_task(cycle.run_asgi(app))
        self.tasks.add(task)
        task.add_done_callback(partial(self._task_ended, self._request))

    def _task_ended(self, request: _Request, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        request.at_work = False
        # Only now, also where the client has gone: until here the application may have the body. The connection may
        # have begun with the next request: a loop may read before it tells that a task has ended.
        self._release(request)

    def _release(self, request: _Request) -> None:
        self._budget.release(self._name, request.held)
        request.held = 0

    # The end

    def time_out(self) -> None:
        if self._closing or self._raw.get_write_buffer_size():
            self._raw.abort()  # it takes no answer
        elif self._receiving:
            self._refuse(HTTP_408_REQUEST_TIMEOUT, "the request did not arrive in time")
        else:
            self._close()

    def give_way(self) -> None:
        if self._closing or self._raw.get_write_buffer_size():
            self._raw.abort()
            return
        self._closing = True
        if self._receiving:
            self._budget.arrived(self)  # or it would be asked to give up what it has given back
            self._answer(HTTP_503_SERVICE_UNAVAILABLE, "too many connections")
        self._raw.close()

    def give_up(self) -> None:
        if not self._raw.is_closing():  # else it releases what it holds when the connection is lost, at once
            self._refuse(HTTP_503_SERVICE_UNAVAILABLE, _TOO_MUCH)

    def shutdown(self) -> None:
        """End with the next answer: HTTP has no other way to tell a client, whose request may be on its way already."""
        self._stopping = True
        self._keep_alive = False
        if self._answering:
            self.cycle.keep_alive = False
        else:
            self.loop.call_later(ON_ITS_WAY, self._stop)

    def _stop(self) -> None:
        if not (self._receiving or self._answering):
            self._close()

    def pause_writing(self) -> None:
        self._connections.arrives(self)
        super().pause_writing()

    def resume_writing(self) -> None:
        if self._answering and not self._receiving:
            self._connections.works(self)
        super().resume_writing()

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _malformed(self, error: httptools.HttpParserError) -> None:
        if self._deaf:
            self.flow.pause_reading()
        elif isinstance(cause := error.__context__, RefusedRequestError):
            self._refuse(cause.status, cause.detail)
        elif self._answering and not self._receiving:
            self._deaf = True  # what follows a complete request is no request; that one still has its answer
            self.cycle.keep_alive = False
            self.flow.pause_reading()
        else:
            # Of the callbacks only the one that reads the target fails otherwise.
            why = "its target cannot be read" if isinstance(error, httptools.HttpParserCallbackError) else str(error)
            self._refuse(HTTP_400_BAD_REQUEST, f"this is no HTTP request: {why}")

    def _refuse(self, status: int, detail: str) -> None:
        """Answer a request that the application does not answer any more, and close."""
        self._answer(status, detail)
        self._deaf = True
        self._close()

    def _answer(self, status: int, detail: str) -> None:
        cycle = self.cycle
        started = self._answering and cycle.response_started
        if self._answering:
            cycle.disconnected = True
            cycle.body = bytearray()
            cycle.message_event.set()
            self._release(self._request)  # the application lets go of its part as soon as it runs
        elif not self._request.at_work:
            self._release(self._request)  # of a head that was not complete
        if not started:
            self._raw.write(refusal(status, detail))

    def _close(self) -> None:
        """Close when the client has its answer: who still sends would read a reset in its place."""
        if self._closing:
            return
        self._closing = True
        self._budget.arrived(self)
        self.parser = None  # type: ignore[assignment] # with what it has of a head
        if not self._request.at_work:
            self.url, self.headers, self.scope = b"", [], {}  # type: ignore[typeddict-item]
        if self.cycle is not None:
            self.cycle.body = bytearray()
        if not (self._receiving or self._deaf or self._raw.get_write_buffer_size()):
            self._raw.close()
            return
        self._raw.write_eof()
        self.flow.resume_reading()
        self._connections.closes(self)

    def _write(self, data: bytes) -> None:
        """Write for uvicorn, whose part of a request may not know that it was refused: then nothing follows."""
        if not self._closing:
            self._raw.write(data)

    def _drop(self, size: int) -> None:
        self._dropped += size
        if self._dropped > _DROPPED_LIMIT:
            self._raw.abort()
