"""What a receiver is: scheme, host and port of a callback's URL."""

from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443}


def receiver_of(url: str) -> str:
    """Return the receiver as a URL with its port, which reads back as the same.

    Raises:
        ValueError: no callback can be sent to `url`.
    """
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError("must be an absolute http or https URL")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{parts.port or _PORTS[parts.scheme]}"
