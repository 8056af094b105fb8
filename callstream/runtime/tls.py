"""TLS out: what a server may send before its handshake ends, which costs most before anybody knows who it is."""

import ssl
from typing import Any, Self

# Bytes. OpenSSL takes a chain of 100 KiB, and decodes each certificate and its key before it verifies any of them: 700
# of them, of 138 bytes, hold the event loop for 0.24 s. Chains that certificate authorities give out have 2 to 8 KiB,
# and a server that asks for a client's certificate may name the authorities that it takes.
_HANDSHAKE_LIMIT = 16 * 1024


class _Object(ssl.SSLObject):
    """Ends a handshake that is too long; whoever drives it calls `do_handshake` for each piece that came."""

    _incoming: ssl.MemoryBIO
    _came = 0

    @classmethod
    def _create(cls, incoming: ssl.MemoryBIO, *args: Any, **more: Any) -> Self:  # noqa: ANN401 - as ssl has it
        made: Self = super()._create(incoming, *args, **more)  # type: ignore[misc] # it has no public name
        made._incoming = incoming
        return made

    def do_handshake(self) -> None:
        self._came += self._incoming.pending
        if self._came > _HANDSHAKE_LIMIT:
            why = f"the handshake is longer than {_HANDSHAKE_LIMIT} bytes"
            error = ssl.SSLError(why)
            error.reason = why
            raise error
        super().do_handshake()


# Elliptic curves alone: a server may choose a modulus of 10,000 bits for the other exchange, which costs 1.4 s.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES:!aNULL:!eNULL:!SHA1:!AESCCM"


def client_context() -> ssl.SSLContext:
    """Return a context that trusts the system's authorities, or those of SSL_CERT_FILE, and takes no long handshake."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    context.set_ciphers(_CIPHERS)  # of TLS 1.2; those of 1.3 are all of that kind
    context.options |= ssl.OP_NO_RENEGOTIATION  # else the next handshake would not be counted
    context.sslobject_class = _Object
    return context
