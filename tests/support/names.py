"""A DNS server over UDP and TCP, which answers as a hostile zone's may."""

import asyncio
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address

from tests.support.waiting import free_port

_A, _CNAME, _OPT, _AAAA = 1, 5, 41, 28
_RESPONSE, _TRUNCATED, _NO_SUCH_NAME = 0x8180, 0x0200, 3
_HEADER = struct.Struct(">HHHHHH")
_WITHOUT_EDNS = 512  # bytes of an answer over UDP
_OF_TCP = 65_535
_TTL = 3_600  # seconds


@dataclass
class Zone:
    """Names and what they stand for: addresses of both kinds, or another name.

    An answer that is too large for UDP is truncated: to the records that fit, or to none with `all_or_nothing`.
    """

    names: Mapping[str, Sequence[str]]
    all_or_nothing: bool = False
    late: str = ""  # a name that has its answers no earlier than by `give_late`
    port: int = 0
    asked: Counter[str] = field(default_factory=Counter)  # names over UDP
    asked_over_tcp: int = 0
    _waiting: list[Callable[[], None]] = field(default_factory=list)

    @property
    def nameservers(self) -> list[str]:
        return [f"127.0.0.1:{self.port}"]

    @asynccontextmanager
    async def served(self) -> AsyncIterator[None]:
        self.port = free_port()
        loop = asyncio.get_running_loop()
        udp, _ = await loop.create_datagram_endpoint(lambda: _Udp(self), ("127.0.0.1", self.port))
        try:
            async with await asyncio.start_server(self._tcp, "127.0.0.1", self.port):
                yield
        finally:
            udp.close()

    def give(self, query: bytes, send: Callable[[bytes], None]) -> None:
        if self.late == _question(query)[0]:
            self._waiting.append(lambda: send(self.answer(query)))
        else:
            send(self.answer(query))

    def give_late(self) -> None:
        self.late = ""
        for give in self._waiting:
            give()

    def answer(self, query: bytes, room: int | None = None) -> bytes:
        """Return the answer of at most `room` bytes; of what the query has room for where that is not said."""
        name, kind, end = _question(query)
        if room is None:
            self.asked[name] += 1
            edns = query[end : end + 3] == struct.pack(">BH", 0, _OPT)
            room = int.from_bytes(query[end + 3 : end + 5]) if edns else _WITHOUT_EDNS
        question = query[_HEADER.size : end]
        flags = _RESPONSE if self._follow(name) else _RESPONSE | _NO_SUCH_NAME
        records = [*self._records(name, kind)]
        fit, left = [], room - _HEADER.size - len(question)
        for record in records:
            left -= len(record)
            if left >= 0:
                fit.append(record)
        if len(fit) < len(records):
            flags |= _TRUNCATED
            fit = [] if self.all_or_nothing else fit
        header = _HEADER.pack(int.from_bytes(query[:2]), flags, 1, len(fit), 0, 0)
        return header + question + b"".join(fit)

    def _follow(self, name: str) -> list[tuple[str, str]]:
        """Return the names and what they stand for, up to the addresses."""
        found = []
        for target in self.names.get(name, ()):
            found.append((name, target))
            found += self._follow(target)
        return found

    def _records(self, name: str, kind: int) -> list[bytes]:
        records = []
        for owner, target in self._follow(name):
            if target in self.names:
                records.append(_record(owner, name, _CNAME, _encoded(target)))
                continue
            address = ip_address(target)
            if kind == (_A if address.version == 4 else _AAAA):
                records.append(_record(owner, name, kind, address.packed))
        return records

    async def _tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked_over_tcp += 1
        query = await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
        answer = self.answer(query, _OF_TCP)
        writer.write(len(answer).to_bytes(2) + answer)
        writer.close()


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, zone: Zone) -> None:
        self._zone = zone
        self._transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._zone.give(data, lambda answer: self._transport.sendto(answer, addr))


def _question(query: bytes) -> tuple[str, int, int]:
    """Return the name, the kind of record, and where the question ends."""
    at, labels = _HEADER.size, []
    while length := query[at]:
        labels.append(query[at + 1 : at + 1 + length].decode())
        at += 1 + length
    return ".".join(labels).lower(), int.from_bytes(query[at + 1 : at + 3]), at + 5


def _encoded(name: str) -> bytes:
    return b"".join(len(label).to_bytes() + label.encode() for label in name.split(".")) + b"\0"


def _record(owner: str, asked: str, kind: int, data: bytes) -> bytes:
    name = struct.pack(">H", 0xC000 | _HEADER.size) if owner == asked else _encoded(owner)
    return name + struct.pack(">HHIH", kind, 1, _TTL, len(data)) + data
