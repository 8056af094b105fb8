"""Only public addresses, and those that an operator allows, are ever dialled."""

import socket
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_network
from pathlib import Path

import pytest
from aiohttp.abc import ResolveResult
from hypothesis import given
from hypothesis import strategies as st

from callstream.runtime import egress
from callstream.runtime.egress import AddressRefusedError, EgressGuard, GuardedResolver
from callstream.runtime.settings import Egress, SettingsError, load_settings

PUBLIC = EgressGuard(Egress())
NAT64 = IPv6Network("64:ff9b::/96")

# How a v4 address is carried in a v6 one; the second number fills what is left.
EMBEDDINGS: dict[str, Callable[[int, int], int]] = {
    "mapped": lambda four, _: 0xFFFF << 32 | four,
    "translated": lambda four, _: 0xFFFF << 48 | four,
    "compatible": lambda four, _: four,
    "nat64": lambda four, _: int(NAT64.network_address) | four,
    "6to4": lambda four, rest: 0x2002 << 112 | four << 80 | rest & (1 << 80) - 1,
    "teredo client": lambda four, rest: 0x2001_0000 << 96 | rest & (1 << 96) - (1 << 32) | four ^ 0xFFFF_FFFF,
    "teredo server": lambda four, rest: 0x2001_0000 << 96 | four << 64 | rest & (1 << 64) - 1,
}


def passes(guard: EgressGuard, host: object, port: int = 443) -> bool:
    try:
        guard.check(str(host), port)
    except AddressRefusedError:
        return False
    return True


def is_inside(address: IPv4Address | IPv6Address) -> bool:
    """Return what this Python's `ipaddress` thinks."""
    return (
        address.is_private
        or address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_reserved
        or address.is_unspecified
        or (isinstance(address, IPv6Address) and address.is_site_local)
    )


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6))
def test_nothing_passes_that_ipaddress_calls_inside(address: IPv4Address | IPv6Address) -> None:
    if address in NAT64:  # reserved, and used to reach public v4 addresses
        assert passes(PUBLIC, address) == passes(PUBLIC, IPv4Address(int(address) & 0xFFFF_FFFF))
    elif is_inside(address):
        assert not passes(PUBLIC, address)


@pytest.mark.parametrize("allow", ["", "::/0"])
@pytest.mark.parametrize("embedding", EMBEDDINGS)
@given(four=st.ip_addresses(v=4), rest=st.integers(2, 2**128 - 1))
def test_no_embedding_of_a_refused_v4_address_passes(embedding: str, allow: str, four: IPv4Address, rest: int) -> None:
    six = IPv6Address(EMBEDDINGS[embedding](int(four), rest))
    if not passes(PUBLIC, four) and int(six) > 1:  # 0.0.0.1 v4-compatible would be ::1
        assert not passes(EgressGuard(Egress(allow=allow)), six)


@given(
    st.ip_addresses(v=4)
    | st.sampled_from(["fc00::/7", "fe80::/10", "ff00::/8"]).flatmap(lambda network: st.ip_addresses(network=network)),
    st.integers(0, 32),
)
def test_what_is_in_an_allowed_network_passes(address: IPv4Address | IPv6Address, prefix: int) -> None:
    allow = ip_network((address, prefix), strict=False)
    assert passes(EgressGuard(Egress(allow=(allow,))), address)


@pytest.mark.parametrize(
    "host",
    [
        *("8.8.8.8", "1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255"),
        *("128.0.0.0", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255"),
        *("192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255", "192.0.1.0", "168.63.129.17"),
        *("2606:4700:4700::1111", "2A00:1450:4001:80B::200E", "2001:4860:4860::8888", "64:ff9b::8.8.8.8"),
    ],
)
def test_a_public_address_passes(host: str) -> None:
    assert passes(PUBLIC, host)


@pytest.mark.parametrize(
    "host",
    [
        *("0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254"),  # noqa: S104 - not bound
        *("169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.88.99.1"),
        *("192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1"),
        *("255.255.255.255", "168.63.129.16"),
        *("::", "::1", "fd00:ec2::254", "fd20:ce::254", "fe80::1", "fec0::1", "ff02::1", "100::1", "5f00::1"),
        *("2001:db8::1", "3fff::1", "2001::1", "2001:2::1", "2001:10::1", "2002:808:808::1", "4000::1"),
        *("::ffff:8.8.8.8", "::8.8.8.8", "::ffff:0:8.8.8.8", "64:ff9b:1::8.8.8.8", "64:ff9b::10.0.0.1"),
    ],
)
def test_an_address_for_a_special_purpose_is_refused(host: str) -> None:
    assert not passes(PUBLIC, host)


@pytest.mark.parametrize(
    "host",
    [
        *("0x7f.1", "0x7f000001", "2130706433", "017700000001", "0177.0.0.1", "127.1", "127.0.0.1.", "1270.0.0.1"),
        *("", "localhost", "8.8.8.8 ", "[::1]", "::1%", "8.8.8.8%eth0"),
        *("fe80::1%eth0", "2606:4700::1%eth0", "::1%25lo"),
    ],
)
def test_what_is_not_plainly_an_address_is_refused_whatever_is_allowed(host: str) -> None:
    assert not passes(EgressGuard(Egress(allow="0.0.0.0/0,::/0")), host)


@pytest.mark.parametrize("host", ["8.8.8.8", "10.0.0.1"])
def test_a_denied_port_is_refused_in_an_allowed_network_too(host: str) -> None:
    guard = EgressGuard(Egress(allow="10.0.0.0/8", deny_ports="25,6379"))
    assert [port for port in (24, 25, 26, 443, 6379) if not passes(guard, host, port)] == [25, 6379]


@pytest.mark.parametrize("port", [22, 23, 25, 110, 143, 465, 587, 993, 995])
def test_shells_and_mail_are_denied_unless_an_operator_says_otherwise(port: int) -> None:
    assert not passes(PUBLIC, "8.8.8.8", port)
    assert passes(EgressGuard(Egress(deny_ports=())), "8.8.8.8", port)


@pytest.mark.parametrize(("host", "address"), [("10.0.0.1", "10.0.0.1:80"), ("::1", "[::1]:80")])
def test_the_refused_address_is_known_but_not_in_the_text(host: str, address: str) -> None:
    with pytest.raises(AddressRefusedError) as refused:
        PUBLIC.check(host, 80)
    assert refused.value.address == address
    assert host not in str(refused.value)


@pytest.mark.parametrize(
    ("family", "target"), [(socket.AF_INET, ("8.8.8.8", 80)), (socket.AF_INET6, ("2606:4700::1", 80, 0, 0))]
)
def test_a_socket_is_made_for_what_passes(family: socket.AddressFamily, target: tuple[str, int]) -> None:
    with PUBLIC.socket((family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", target)) as made:
        assert made.family == family


@pytest.mark.parametrize(
    ("family", "target"), [(socket.AF_INET, ("10.0.0.1", 80)), (socket.AF_INET6, ("::1", 80, 0, 0))]
)
def test_no_socket_is_made_for_what_does_not(family: socket.AddressFamily, target: tuple[str, int]) -> None:
    with pytest.raises(AddressRefusedError):
        PUBLIC.socket((family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", target))


class Names:
    """Names that all have the addresses in `hosts`."""

    hosts: tuple[str, ...] = ()
    closed = 0

    async def resolve(self, host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
        if not self.hosts:
            raise OSError(None, "Domain name not found")
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
            for address in self.hosts
        ]

    async def close(self) -> None:
        type(self).closed += 1


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Names]]:
    monkeypatch.setattr(egress, "Names", Names)
    yield Names
    Names.hosts, Names.closed = (), 0


async def resolved() -> list[str]:
    return [found["host"] for found in await GuardedResolver(PUBLIC).resolve("receiver.example", 80)]


async def test_of_a_names_addresses_those_that_may_be_reached_are_given(names: type[Names]) -> None:
    names.hosts = ("10.0.0.1", "8.8.8.8", "::1", "2606:4700::1")
    assert await resolved() == ["8.8.8.8", "2606:4700::1"]


async def test_a_name_with_refused_addresses_alone_is_refused(names: type[Names]) -> None:
    names.hosts = ("::1", "127.0.0.1")
    with pytest.raises(AddressRefusedError) as refused:
        await resolved()
    assert refused.value.address == "[::1]:80"


async def test_a_name_with_thousands_of_addresses_costs_no_more_than_one_with_eight(names: type[Names]) -> None:
    names.hosts = tuple(str(IPv4Address(int(IPv4Address("8.0.0.0")) + number)) for number in range(4_000))
    assert await resolved() == list(names.hosts[:8])


async def test_a_name_that_is_not_found_stays_an_error_of_the_look_up(names: type[Names]) -> None:
    names.hosts = ()
    with pytest.raises(OSError, match="Domain name not found") as failed:
        await resolved()
    assert not isinstance(failed.value, AddressRefusedError)


async def test_the_resolver_closes_what_it_stands_on(names: type[Names]) -> None:
    await GuardedResolver(PUBLIC).close()
    assert names.closed == 1


@pytest.mark.parametrize(
    ("allow", "networks"),
    [
        ("", ()),
        (" 127.0.0.0/8, ::1/128 ,", ("127.0.0.0/8", "::1/128")),
        ("10.0.0.1", ("10.0.0.1/32",)),
    ],
)
def test_networks_are_allowed_by_a_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, allow: str, networks: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CALLSTREAM_EGRESS__ALLOW", allow)
    assert load_settings().egress.allow == tuple(ip_network(network) for network in networks)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("ALLOW", value) for value in ("localhost", "10.0.0.1/8", "10.0.0.0/33", "::1/129", "10.0.0.0-10.0.0.9")),
        *(("DENY_PORTS", value) for value in ("ssh", "0", "65536", "1-1024")),
    ],
)
def test_a_bad_network_or_port_is_told_in_one_line_that_names_its_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(f"CALLSTREAM_EGRESS__{name}", value)
    with pytest.raises(SettingsError, match=rf"\ACALLSTREAM_EGRESS__{name}: .+\Z"):
        load_settings()
