"""TLS out: what a server may send, and ask for, before its handshake ends, when nobody knows yet who it is."""

import hashlib
import re
import ssl
from typing import Any, NoReturn, Self

# Bytes. OpenSSL takes a chain of 100 KiB, and decodes each certificate and its key before it verifies any of them: 700
# of them, of 138 bytes, hold the event loop for 0.24 s. Chains that certificate authorities give out have 2 to 8 KiB,
# and a server that asks for a client's certificate may name the authorities that it takes.
_HANDSHAKE_LIMIT = 16 * 1024

# As RFC 8446 has them.
_RECORD_HEAD, _MESSAGE_HEAD = 5, 4  # bytes
_HANDSHAKE = 22  # of the kinds of records
_RETRY = hashlib.sha256(
    b"HelloRetryRequest"
).digest()  # what stands for the random of a hello that asks for another group
_FINITE_FIELD = re.compile(rb"\x00\x33\x00\x02\x01")  # the extension of such a hello that names one of those groups


class _Object(ssl.SSLObject):
    """Ends a handshake that costs too much; whoever drives it calls `do_handshake` for each piece that came."""

    _incoming: ssl.MemoryBIO
    _came = 0
    _records: bytearray | None  # what came of the records until the server's hello

    @classmethod
    def _create(cls, incoming: ssl.MemoryBIO, *args: Any, **more: Any) -> Self:  # noqa: ANN401 - as ssl has it
        made: Self = super()._create(incoming, *args, **more)  # type: ignore[misc] # it has no public name
        made._incoming = incoming
        made._records = bytearray()
        return made

    def do_handshake(self) -> None:
        if came := self._incoming.read():
            self._came += len(came)
            if self._came > _HANDSHAKE_LIMIT:
                _fail(f"the handshake is longer than {_HANDSHAKE_LIMIT} bytes")
            if self._records is not None:
                self._records += came
                self._look_for_hello(self._records)
            self._incoming.write(came)
        super().do_handshake()

    def _look_for_hello(self, records: bytearray) -> None:
        """Look at the first message as soon as its record is complete, before OpenSSL does as it says."""
        while len(records) >= _RECORD_HEAD:
            end = _RECORD_HEAD + int.from_bytes(records[3:_RECORD_HEAD])
            if len(records) < end:
                return
            kind, message = records[0], bytes(records[_RECORD_HEAD:end])
            del records[:end]
            if kind == _HANDSHAKE:
                self._records = None
                if len(message) < _MESSAGE_HEAD + int.from_bytes(message[1:_MESSAGE_HEAD]):
                    _fail("the server's hello is in pieces")
                # A server may ask for ffdhe8192, which takes 0.19 s; Python cannot say that it is not to be had.
                if _RETRY in message and _FINITE_FIELD.search(message):
                    _fail("the server asks for a group that is no elliptic curve")
                return


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
