"""A request that asks for another protocol, as Java's HttpClient does with its first, is one of this protocol.

RFC 9110, 7.8, lets a server ignore that. The parser does not: it would take a body for bytes of the other protocol.
"""

from collections.abc import Iterable

import httptools


def asks_for_upgrade(parser: httptools.HttpRequestParser) -> bool:
    """Return whether the head that `parser` has just read asks for another protocol by its fields."""
    return parser.should_upgrade() and parser.get_method() != b"CONNECT"


def without_upgrade(parser: httptools.HttpRequestParser, target: bytes, fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the head that `parser` has just read, for another to read: what frames the body is as it was.

    The parser lets no line end and no leading white space into what it gives, so that each field is one again.
    """
    lines = [b"%s %s HTTP/%s" % (parser.get_method(), target, parser.get_http_version().encode())]
    lines += [b"%s: %s" % (name, value) for name, value in fields if name != b"upgrade"]
    return b"\r\n".join([*lines, b"", b""])
