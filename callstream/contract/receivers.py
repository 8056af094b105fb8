"""What a receiver is: scheme, host and port of a callback's URL, the same for every spelling of its host."""

from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address
from urllib.parse import urlsplit

from pydantic_core import Url

LONGEST_HOST = 254  # characters of a name that can be looked up, with the dot that may end it
_PORTS = {"http": 80, "https": 443}


def receiver_of(url: str) -> str:
    """Return the receiver as a URL with its port, which reads back as the same.

    Raises:
        ValueError: no callback can be sent to `url`.
    """
    scheme, host, port = place_of(url)
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def place_of(url: str) -> tuple[str, str, int]:
    """Return scheme, canonical host and port of a URL.

    Raises:
        ValueError: no callback can be sent to `url`.
    """
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError("must be an absolute http or https URL")
    return parts.scheme, canonical_host(parts.hostname), parts.port or _PORTS[parts.scheme]


def canonical_host(host: str) -> str:
    """Return the one spelling of a host, without brackets: what is dialled alike is written alike.

    That is the host as the URL standard of browsers has it (UTS 46 with its other dots and widths, Punycode, IPv4 in
    octal, hexadecimal or as one number, IPv6 compressed), without the dot that may end it, and a v4-mapped address as
    the v4 address that it stands for. What that standard does not take stays as it is, in lower case.
    """
    return _canonical_host(host) if len(host) <= LONGEST_HOST else host.lower()  # which none dials, and none remembers


@lru_cache(maxsize=10_000)
def _canonical_host(host: str) -> str:
    if "%" in host or "\\" in host:  # it would be decoded, or end the host, and the client that dials does neither
        return host.lower()
    bracketed = f"[{host}]" if ":" in host else host
    try:
        found = Url(f"http://{bracketed}/").host or host
    except ValueError:
        return host.lower()
    return _unmapped(found.strip("[]")) if ":" in found else found.removesuffix(".")


def _unmapped(host: str) -> str:
    try:
        mapped = IPv6Address(host).ipv4_mapped
    except AddressValueError:
        return host
    return host if mapped is None else str(mapped)
