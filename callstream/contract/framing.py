"""The HTTP headers that frame a request or belong to one connection: its transport alone sets them."""

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


def is_framing(name: str) -> bool:
    """Return whether the header `name` is one of those; whatever is between two proxies is."""
    lower = name.lower()
    return lower in FRAMING_HEADERS or lower.startswith("proxy-")
