"""The guard on the addresses that URLs from outside may reach.

It judges what a socket is about to dial, so no spelling, name or change of a name between two look-ups passes it.
"""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from callstream.runtime.connections import RECEIVE_BUFFER
from callstream.runtime.names import Names
from callstream.runtime.settings import Egress

Address = IPv4Address | IPv6Address

# Named here, as `is_global` and `is_private` differ between versions of Python: every block that these registries do
# not call globally reachable, whole, also where single addresses in it are.
# https://www.iana.org/assignments/iana-ipv4-special-registry, https://www.iana.org/assignments/iana-ipv6-special-registry
_SPECIAL_4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # "this network", RFC 791; most systems dial 0.0.0.0 as loopback
        "10.0.0.0/8",  # private, RFC 1918
        "100.64.0.0/10",  # carrier-grade NAT, RFC 6598
        "127.0.0.0/8",  # loopback, RFC 1122
        "169.254.0.0/16",  # link-local, RFC 3927, and with it the clouds' metadata
        "172.16.0.0/12",  # private, RFC 1918
        "192.0.0.0/24",  # IETF protocol assignments, RFC 6890
        "192.0.2.0/24",  # documentation, RFC 5737
        "192.88.99.0/24",  # 6to4 relays, RFC 7526
        "192.168.0.0/16",  # private, RFC 1918
        "198.18.0.0/15",  # benchmarking, RFC 2544
        "198.51.100.0/24",  # documentation, RFC 5737
        "203.0.113.0/24",  # documentation, RFC 5737
        "224.0.0.0/4",  # multicast, RFC 5771
        "240.0.0.0/4",  # reserved, RFC 1112, and with it the broadcast address
        "168.63.129.16/32",  # not IANA's: Azure's own services, for its machines alone
    )
)
# The only unicast that IANA has given out. Outside it are loopback, unspecified, v4-mapped and v4-compatible forms,
# 64:ff9b:1::/48, 100::/64, 5f00::/16, unique local (fd00:ec2::254), link-local, site-local and multicast addresses.
_UNICAST_6 = IPv6Network("2000::/3")
_SPECIAL_6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # IETF protocol assignments, RFC 2928: Teredo, benchmarking, ORCHID
        "2001:db8::/32",  # documentation, RFC 3849
        "2002::/16",  # 6to4, RFC 3056
        "3fff::/20",  # documentation, RFC 9637
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052
_FOUR_IN_SIX = (
    _NAT64,
    IPv6Network("::ffff:0:0/96"),  # v4-mapped, RFC 4291
    IPv6Network("::ffff:0:0:0/96"),  # v4-translated, RFC 2765
    IPv6Network("::/96"),  # v4-compatible, RFC 4291
)
_seen_by: ContextVar[Callable[[str], None] | None] = ContextVar("seen_by", default=None)
_MOST_DIALLED = 8  # addresses of a name, of which each may be dialled again after a failure


class AddressRefusedError(OSError):
    """`address` must not be dialled; the text leaves it out, as what is inside is not told outside."""

    def __init__(self, address: str) -> None:
        super().__init__(None, "the url's address is not allowed")
        self.address = address


class AddressTakenError(OSError):
    """An address is not dialled, since enough is under way there; the text leaves it out."""

    def __init__(self) -> None:
        super().__init__(None, "as many as may are under way at the url's address")


@contextmanager
def dials_seen_by(see: Callable[[str], None]) -> Iterator[None]:
    """Show `see` every address that is dialled here, just before it is; an OSError that it raises prevents that."""
    token = _seen_by.set(see)
    try:
        yield
    finally:
        _seen_by.reset(token)


def dialled(host: str) -> None:
    """Show `host`, an address that is about to be dialled, to who wants to see it."""
    if (see := _seen_by.get()) is not None:
        see(host)


class EgressGuard:
    """Lets through what is public, and what is in an allowed network."""

    def __init__(self, settings: Egress) -> None:
        self._allow = settings.allow
        self._deny_ports = frozenset(settings.deny_ports)

    def check(self, host: str, port: int) -> None:
        """Raise an AddressRefusedError unless `host`, an address as it is dialled, may be reached at `port`."""
        try:
            address = ip_address(host)
        except ValueError:  # such as 127.1, which some systems still dial
            allowed = False
        else:
            allowed = port not in self._deny_ports and self._allows(address)
        if not allowed:
            raise AddressRefusedError(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")

    def socket(self, info: aiohttp.AddrInfoType) -> socket.socket:
        """Return a socket for what is about to be dialled: aiohttp's `socket_factory`."""
        family, kind, protocol, _, (host, port, *_) = info
        self.check(str(host), int(port))
        dialled(str(host))
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        return made

    def _allows(self, address: Address) -> bool:
        if isinstance(address, IPv6Address) and address.scope_id is not None:
            return False  # it names an interface of this machine
        return all(
            _is_public(each) or any(each in network for network in self._allow)
            for each in (address, *_embedded(address))
        )


class GuardedResolver(AbstractResolver):
    """Looks names up and gives only the addresses that may be reached.

    The guard at the socket would refuse the others as well, but aiohttp merges the errors of several addresses.
    """

    def __init__(self, guard: EgressGuard) -> None:
        self._names = Names()
        self._guard = guard

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of `host`.

        Raises:
            AddressRefusedError: it has none that may be reached.
            OSError: it has none at all.
        """
        allowed: list[ResolveResult] = []
        refused: AddressRefusedError | None = None
        for found in await self._names.resolve(host, port, family):
            try:
                self._guard.check(found["host"], found["port"])
            except AddressRefusedError as error:
                refused = refused or error
            else:
                allowed.append(found)
        if refused and not allowed:
            raise refused
        return allowed[:_MOST_DIALLED]

    async def close(self) -> None:
        await self._names.close()


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _SPECIAL_4)
    if address in _NAT64:
        return True  # as far as the address in it is
    return address in _UNICAST_6 and not any(address in network for network in _SPECIAL_6)


def _embedded(address: Address) -> Iterator[IPv4Address]:
    """Yield the v4 addresses that a v6 address may stand for."""
    if isinstance(address, IPv4Address) or int(address) <= 1:  # :: and ::1 stand for themselves
        return
    if any(address in network for network in _FOUR_IN_SIX):
        yield IPv4Address(int(address) & 0xFFFF_FFFF)
    if address.sixtofour:
        yield address.sixtofour
    if address.teredo:
        yield from address.teredo
