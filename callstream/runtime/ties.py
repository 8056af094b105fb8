"""What attempts have in common that may be in one hand: the receiver, its registered domain, the address dialled."""

from enum import IntEnum
from functools import cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

from publicsuffixlist import PublicSuffixList

_SITE = 64  # bits of an IPv6 address that say whose it is; the others are the owner's to choose


class Kin(IntEnum):
    """In what attempts are alike."""

    RECEIVER = 0
    DOMAIN = 1
    ADDRESS = 2


class Tie(NamedTuple):
    kin: Kin
    name: str


def ties_of(receiver: str) -> tuple[Tie, ...]:
    """Return what is known of a receiver, a URL of scheme, canonical host and port, before it is dialled."""
    own, host = Tie(Kin.RECEIVER, receiver), urlsplit(receiver).hostname or ""
    try:
        ip_address(host)
    except ValueError:
        domain = public_suffixes().privatesuffix(host)
        return (own, Tie(Kin.DOMAIN, domain)) if domain else (own,)
    return own, address_tie(host)


def address_tie(host: str) -> Tie:
    """Return the tie of an address as it is dialled: of IPv6 the /64, a v4-mapped one is the v4 address."""
    address: IPv4Address | IPv6Address = ip_address(host.partition("%")[0])
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is None:
            return Tie(Kin.ADDRESS, str(IPv6Network((address, _SITE), strict=False)))
        address = address.ipv4_mapped
    return Tie(Kin.ADDRESS, str(address))


@cache
def public_suffixes() -> PublicSuffixList:
    """Return under which names anybody may register one; reading the list takes a fifth of a second."""
    return PublicSuffixList()
