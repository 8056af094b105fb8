"""Looks names up: who has a zone says what its names answer, and not how much of it is read or kept.

Docs: docs/decisions/0006-egress-guard-at-the-socket.md.
"""

import asyncio
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import aiodns
import pycares
from aiohttp.abc import ResolveResult

# An answer is one datagram of the 1,232 bytes that c-ares offers room for: some 70 A or 40 AAAA records. What a server
# leaves out of it is not asked for over TCP, where a zone answers with 64 KiB: 30 ms of a core, and 0.4 MiB if kept.
_ONE_DATAGRAM = pycares.ARES_FLAG_EDNS | pycares.ARES_FLAG_IGNTC
_MOST_ADDRESSES = 32  # of a name, of both kinds; the others are not looked at
# Look-ups whose answers c-ares keeps, each for as long as the zone says, up to an hour: two datagrams' records of one
# name take 20 KiB, and 100 KiB where they are long names, so that these are 25 MiB at most.
_MOST_KEPT = 256


class Names:
    """The names of `/etc/hosts` and of the DNS servers in `/etc/resolv.conf`, or of `nameservers` ("host:port")."""

    def __init__(self, nameservers: Sequence[str] | None = None) -> None:
        self._resolver = _Resolver(nameservers, flags=_ONE_DATAGRAM)
        self._kept = 0

    async def resolve(self, host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
        """Return the first addresses of `host`, in the order in which they should be dialled.

        Raises:
            OSError: it has none.
        """
        try:
            found = await self._resolver.look_up(host, port, family)
        finally:
            self._count()
        if not found.nodes:
            raise OSError(None, "the name has no address")
        return [_result(host, node) for node in found.nodes[:_MOST_ADDRESSES]]

    async def close(self) -> None:
        await self._resolver.close()

    def _count(self) -> None:
        self._kept += 1
        if self._kept >= _MOST_KEPT:
            self._kept = 0
            self._resolver.forget()


class _Resolver(aiodns.DNSResolver):
    """aiodns, which asks c-ares from a thread.

    While c-ares reads answers, in a thread of its own, it has a lock for which the event loop would wait. One thread is
    enough: it waits for no answer.
    """

    def __init__(self, nameservers: Sequence[str] | None, flags: int) -> None:
        super().__init__(nameservers, flags=flags)
        self._thread = ThreadPoolExecutor(1, "names")

    def look_up(self, host: str, port: int, family: socket.AddressFamily) -> asyncio.Future[pycares.AddrInfoResult]:
        found: asyncio.Future[pycares.AddrInfoResult] = self.loop.create_future()

        def settle(result: pycares.AddrInfoResult | None, error: Exception) -> None:
            if found.done():  # nobody waits for it any more
                return
            if result is None:
                found.set_exception(error)
            else:
                found.set_result(result)

        def answered(result: pycares.AddrInfoResult | None, status: int | None) -> None:
            error = OSError(None, pycares.errno.strerror(status or 0))
            self.loop.call_soon_threadsafe(settle, result, error)

        def ask() -> None:
            try:
                self._channel.getaddrinfo(
                    host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG, callback=answered
                )
            except Exception as error:  # noqa: BLE001 - who waits has it
                self.loop.call_soon_threadsafe(settle, None, error)

        self._run(ask)
        return found

    def forget(self) -> None:
        """Drop the answers that are kept; look-ups under way go on."""
        self._run(self._channel.reinit)

    async def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)
        await super().close()

    def _run(self, call: Callable[[], None]) -> None:
        if self._event_thread:
            self._thread.submit(call)
        else:  # this system had no inotify instance left for one
            call()


def _result(host: str, node: pycares.AddrInfoNode) -> ResolveResult:
    address, port, *more = node.addr
    scope = f"%{more[1]}" if more and more[1] else ""  # of an IPv6 address in /etc/hosts
    return ResolveResult(
        hostname=host,
        host=f"{address.decode('ascii')}{scope}",
        port=port,
        family=node.family,
        proto=0,
        flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
    )
