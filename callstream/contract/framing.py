"""What frames an HTTP message: headers, which the connection's transport alone sets, and what is around its chunks."""

# RFC 9110 7.6.1 (what an intermediary removes), and what says where a message ends, whom it is for, and who waits.
FRAMING_HEADERS = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "host",
        "http2-settings",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_ALWAYS = 16 * 1024  # bytes, as many as a head may have
_BODY_A_FRAMING = 4  # bytes of body for each byte that frames it, beyond those


def is_framing(name: str) -> bool:
    """Return whether the header `name` is one of those; whatever is between two proxies is."""
    lower = name.lower()
    return lower in FRAMING_HEADERS or lower.startswith("proxy-")


def is_mostly_framing(wire: int, body: int) -> bool:
    """Return whether too few of `wire` bytes behind a head are body: a chunk costs as much to read as 24 bytes."""
    return wire - body > _ALWAYS + body // _BODY_A_FRAMING
