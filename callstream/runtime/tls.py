"""TLS out: what a server may have us compute, before its handshake ends and behind it."""

import asyncio
import hashlib
import re
import ssl
from collections.abc import Callable
from typing import Any, NoReturn, Self, cast

from callstream.contract.framing import is_mostly_framing
from callstream.sharing.turns import Turns

Ask = Callable[[Callable[[], None]], None]  # calls what it is given when it is its turn, and then who drives the object

# Bytes. OpenSSL takes a chain of 100 KiB, and decodes each certificate and its key before it verifies any of them: 700
# of them, of 138 bytes, hold the event loop for 0.24 s. Chains that certificate authorities give out have 2 to 8 KiB,
# and a server that asks for a client's certificate may name the authorities that it takes.
_HANDSHAKE_LIMIT = 16 * 1024

_SAID = 1024  # bytes that we say, behind it, to what is read

# As RFC 8446 has them.
_RECORD_HEAD, _MESSAGE_HEAD = 5, 4  # bytes
_LARGEST_RECORD = _RECORD_HEAD + 2**14 + 2_048  # bytes, with what a cipher of TLS 1.2 may add
_HANDSHAKE = 22  # of the kinds of records
_RETRY = hashlib.sha256(b"HelloRetryRequest").digest()  # the random of a hello that asks for another group
_FINITE_FIELD = re.compile(rb"\x00\x33\x00\x02\x01")  # its extension that names one of those groups


class _Object(ssl.SSLObject):
    """Bounds what a server may have us compute, and does it in turns; `read` and `do_handshake` are called as it comes.

    OpenSSL works off all that it is given, and tells of data alone. So it gets a record at a time, and what is behind
    that waits here; a handshake's flight waits until it is its turn.
    """

    ask: Ask | None = None
    _incoming: ssl.MemoryBIO
    _outgoing: ssl.MemoryBIO
    _behind: bytearray  # what OpenSSL has not got
    _records: bytearray | None  # what came of the records until the server's hello
    _came = 0  # bytes of the handshake
    # Bytes behind the handshake: of records without data, of data, and of what we said to them. A record of 16 KiB that
    # is full of the smallest messages, tickets for sessions, takes 15 ms.
    _empty = _data = _said = 0
    _asked = _has_turn = False

    @classmethod
    def _create(cls, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *args: Any, **more: Any) -> Self:  # noqa: ANN401 - as ssl has it
        made: Self = super()._create(incoming, outgoing, *args, **more)  # type: ignore[misc] # it has no public name
        made._incoming, made._outgoing = incoming, outgoing
        made._behind, made._records = bytearray(), bytearray()
        return made

    def do_handshake(self) -> None:
        came = self._incoming.read()
        self._came += len(came)
        if self._came > _HANDSHAKE_LIMIT:
            _fail(f"the handshake is longer than {_HANDSHAKE_LIMIT} bytes")
        self._behind += came
        if self._behind and not self._may_go_on():
            raise ssl.SSLWantReadError
        if self._records is not None:
            self._records += self._behind
            self._look_for_hello(self._records)
        self._incoming.write(self._behind)
        self._behind.clear()
        super().do_handshake()

    def read(self, *to: Any) -> Any:  # noqa: ANN401 - a size, and perhaps a buffer, as ssl has it
        self._behind += self._incoming.read()
        given = 0
        while True:
            said = self._outgoing.pending
            try:
                found = super().read(*to)
            except ssl.SSLWantReadError:
                self._empty += given
                self._said += self._outgoing.pending - said
                if is_mostly_framing(self._empty + self._data, self._data):
                    _fail("what comes over TLS holds too little")
                if self._said > _SAID:
                    _fail("the server asks for new keys again and again")
                given = self._give_record()
                if not given:
                    raise
            else:
                self._data += found if isinstance(found, int) else len(found)
                return found

    def pending(self) -> int:
        """Return how many bytes there are to be read, those here with them: uvloop reads while there are some."""
        return super().pending() + len(self._behind)

    def _give_record(self) -> int:
        """Give OpenSSL the next record; return its size, 0 where it is not complete."""
        size = _record_size(self._behind)
        if not size:
            return 0
        if self._behind[0] == _HANDSHAKE:
            _fail("the server asks for another handshake")  # to each request of 4 bytes we would say no
        self._incoming.write(self._behind[:size])
        del self._behind[:size]
        return size

    def _may_go_on(self) -> bool:
        """Return whether it is our turn; else we are called again when it is."""
        if self.ask is None or self._has_turn:
            self._has_turn = False
            return True
        if not self._asked:
            self._asked = True
            self.ask(self._take_turn)
        return False

    def _take_turn(self) -> None:
        self._asked, self._has_turn = False, True

    def _look_for_hello(self, records: bytearray) -> None:
        """Look at the first message as soon as its record is complete, before OpenSSL does as it says."""
        while size := _record_size(records):
            kind, message = records[0], bytes(records[_RECORD_HEAD:size])
            del records[:size]
            if kind == _HANDSHAKE:
                self._records = None
                if len(message) < _MESSAGE_HEAD + int.from_bytes(message[1:_MESSAGE_HEAD]):
                    _fail("the server's hello is in pieces")
                # A server may ask for ffdhe8192, which takes 0.19 s; Python cannot say that it is not to be had.
                if _RETRY in message and _FINITE_FIELD.search(message):
                    _fail("the server asks for a group that is no elliptic curve")
                return


def _record_size(records: bytearray) -> int:
    """Return the bytes of the first record, 0 where it is not complete."""
    size = _RECORD_HEAD + int.from_bytes(records[3:_RECORD_HEAD])
    if size > _LARGEST_RECORD:
        _fail("a record is too large")
    return size if len(records) >= max(size, _RECORD_HEAD) else 0


class Turn:
    """Asks for a connection: lets what drives its TLS go on in its `client`'s turn; until then nothing more is read."""

    def __init__(self, turns: Turns, client: str, plain: asyncio.Transport) -> None:
        self._turns = turns
        self._client = client
        self._plain = plain
        self._waiting: asyncio.Task[None] | None = None

    def __call__(self, take: Callable[[], None]) -> None:
        if not self._plain.is_closing():
            self._plain.pause_reading()
            self._waiting = asyncio.create_task(self._go_on(take))

    async def _go_on(self, take: Callable[[], None]) -> None:
        await self._turns.begin(self._client)
        if not self._plain.is_closing():
            take()
            self._plain.resume_reading()
            cast("asyncio.BufferedProtocol", self._plain.get_protocol()).buffer_updated(0)


class ContextInTurns(ssl.SSLContext):
    """`context` for a connection that computes in turns: `ask` is given what to call before it goes on.

    A loop takes a context alone, and makes the object in a callback and a context (PEP 567) of its own. It may serve
    another connection behind this one's handshake: to make one takes 0.3 ms.
    """

    ask: Ask | None = None

    def __new__(cls, _: ssl.SSLContext) -> Self:
        return super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context

    def wrap_bio(self, *args: Any, **more: Any) -> ssl.SSLObject:  # noqa: ANN401 - as ssl has it
        made = self._context.wrap_bio(*args, **more)
        assert isinstance(made, _Object)  # noqa: S101 - for mypy; the context is of `client_context`
        made.ask = self.ask
        return made


def _fail(why: str) -> NoReturn:
    error = ssl.SSLError(why)
    error.reason = why
    raise error


# Elliptic curves alone: a server may choose a modulus of 10,000 bits for the other exchange, which costs 1.4 s.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES:!aNULL:!eNULL:!SHA1:!AESCCM"


def client_context() -> ssl.SSLContext:
    """Return a context that trusts the system's authorities, or SSL_CERT_FILE's, and takes no costly handshake."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    context.set_ciphers(_CIPHERS)  # of TLS 1.2; those of 1.3 are all of that kind
    context.options |= ssl.OP_NO_RENEGOTIATION  # else the next handshake would not be looked at
    context.sslobject_class = _Object
    return context
