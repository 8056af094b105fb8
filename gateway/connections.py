"""Which connections a process has, and which has to go when there are too many, or when its time is over."""

import asyncio
from collections import Counter
from ipaddress import IPv6Address, ip_address
from typing import NamedTuple, Protocol

from callstream.runtime.logs import get_logger

log = get_logger()
_SAY_AGAIN = 10.0  # seconds between two lines that tell of too many connections
_IPV6_NETWORK = 64  # bits of an IPv6 address that one client is given; the rest it chooses as it likes


class Limits(NamedTuple):
    """`connections` in all, `client_connections` from one address; times in seconds.

    A request must have arrived within `arrival`, head and body each; a connection may be `idle` between two requests
    and `closing` for as long.
    """

    connections: int
    client_connections: int
    arrival: float
    idle: float
    closing: float = 2.0


class Connection(Protocol):
    @property
    def client(self) -> tuple[str, int] | None: ...

    def time_out(self) -> None:
        """End: the client took too long."""

    def give_way(self) -> None:
        """End at once: the place is needed."""


class Waiting:
    """Connections that wait for their client, the longest first; who waits for `timeout` seconds is timed out.

    One timer serves them all, since all have the same time.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._loop: asyncio.AbstractEventLoop | None = None  # the one that runs when the first waits
        self._since: dict[Connection, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, connection: Connection) -> None:
        """Let `connection`, which does not wait here, wait from now on."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        self._since[connection] = now = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_at(now + self._timeout, self._look, self._loop)

    def discard(self, connection: Connection) -> None:
        self._since.pop(connection, None)

    def longest(self, but: Connection) -> Connection | None:
        """Return who waits longest, and is not `but`."""
        return next((found for found in self._since if found is not but), None)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        for connection, since in list(self._since.items()):
            if since + self._timeout > now:
                self._timer = loop.call_at(since + self._timeout, self._look, loop)
                return
            del self._since[connection]
            connection.time_out()


class Connections:
    """The connections of a process, at most `limits.connections`.

    Where there is no place for a new one, the one that has waited longest for its client has to go: first of those
    that are closing, then of the idle, then of those whose request is still arriving. A request that has arrived is
    never given up for another. So who opens connections and sends nothing does not shut out who sends.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._arriving = Waiting(limits.arrival)
        self._idle = Waiting(limits.idle)
        self._closing = Waiting(limits.closing)
        self._clients: dict[Connection, str] = {}
        self._where: dict[Connection, Waiting] = {}
        self._of_client: Counter[str] = Counter()
        self._said = float("-inf")
        self._unsaid = 0

    def __len__(self) -> int:
        return len(self._clients)

    def enter(self, connection: Connection) -> str | None:
        """Take `connection` in; return why it has to go again, if so."""
        client = client_name(connection.client)
        self._clients[connection] = client
        self._of_client[client] += 1
        self.arrives(connection)
        if self._of_client[client] > self._limits.client_connections:
            self._say("client_connections", self._limits.client_connections)
            return "too many connections from this address"
        while len(self._clients) > self._limits.connections:
            self._say("connections", self._limits.connections)
            longest = self._longest(connection)
            if longest is None:
                return "too many connections"
            self.leave(longest)
            longest.give_way()
        return None

    def arrives(self, connection: Connection) -> None:
        """Note that the client has to go on from now: to send its request, or to take its answer."""
        self._wait(connection, self._arriving)

    def idles(self, connection: Connection) -> None:
        """Note that the client has its answer and may send another request."""
        self._wait(connection, self._idle)

    def closes(self, connection: Connection) -> None:
        """Note that nothing remains but that the client closes, too."""
        self._wait(connection, self._closing)

    def works(self, connection: Connection) -> None:
        """Note that it is not the client who is waited for."""
        where = self._where.pop(connection, None)
        if where is not None:
            where.discard(connection)

    def leave(self, connection: Connection) -> None:
        """Forget `connection`; nothing if it is forgotten already."""
        client = self._clients.pop(connection, None)
        if client is None:
            return
        self.works(connection)
        self._of_client[client] -= 1
        if not self._of_client[client]:
            del self._of_client[client]

    def _wait(self, connection: Connection, where: Waiting) -> None:
        if connection in self._clients:
            self.works(connection)
            self._where[connection] = where
            where.add(connection)

    def _longest(self, but: Connection) -> Connection | None:
        return self._closing.longest(but) or self._idle.longest(but) or self._arriving.longest(but)

    def _say(self, limit: str, most: int) -> None:
        """Tell that a limit is reached, in a line now and then: whoever reaches it may do so thousands of times."""
        self._unsaid += 1
        now = asyncio.get_running_loop().time()
        if now - self._said >= _SAY_AGAIN:
            log.warning("connections.limited", limit=limit, most=most, times=self._unsaid)
            self._said, self._unsaid = now, 0


def client_name(address: tuple[str, int] | None) -> str:
    """Return by what a client is known: its address, or its network."""
    host = address[0] if address else ""
    if ":" not in host:
        return host
    found = ip_address(host.partition("%")[0])
    assert isinstance(found, IPv6Address)  # noqa: S101 - for mypy; it has a colon
    return str(found.ipv4_mapped or int(found) >> _IPV6_NETWORK)
