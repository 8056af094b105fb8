"""Places for connections, shared between the hosts that they lead to."""

import asyncio
from collections import Counter


class Places:
    """Room for `limit` connections; a host may have as many more as it has fewer than are free.

    So the first takes up to half, each of several as much as is left free, and a host that has none finds one at once
    until there are as many hosts as places. Of those that wait the host with the fewest has its turn first.
    """

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._held: Counter[str] = Counter()
        self._waiting: dict[str, dict[asyncio.Future[None], None]] = {}
        self._turns: dict[int, dict[str, None]] = {}  # the hosts that wait, by how many they have

    async def take(self, host: str) -> None:
        """Return when there was a place for `host`, which is then taken."""
        if host not in self._waiting and self._held[host] < self._free:
            self._change(host, 1)
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if host not in self._waiting:
            self._waiting[host] = {}
            self._line_up(host)
        self._waiting[host][place] = None
        try:
            await place
        except asyncio.CancelledError:
            if place in self._waiting.get(host, ()):
                self._leave(host, place)
            elif not place.cancelled():
                self.give(host)
            raise

    def give(self, host: str) -> None:
        """Take a place back, and let those have it that wait."""
        self._change(host, -1)
        while self._turns and (fewest := min(self._turns)) < self._free:
            next_host = next(iter(self._turns[fewest]))
            place = next(iter(self._waiting[next_host]))
            self._leave(next_host, place)
            if not place.done():  # or else it was cancelled
                self._change(next_host, 1)
                place.set_result(None)

    def _change(self, host: str, by: int) -> None:
        if host in self._waiting:
            self._step_out(host)
        self._free -= by
        self._held[host] += by
        if host in self._waiting:
            self._line_up(host)
        if not self._held[host]:
            del self._held[host]

    def _leave(self, host: str, place: asyncio.Future[None]) -> None:
        waiting = self._waiting[host]
        del waiting[place]
        if not waiting:
            self._step_out(host)
            del self._waiting[host]

    def _line_up(self, host: str) -> None:
        self._turns.setdefault(self._held[host], {})[host] = None

    def _step_out(self, host: str) -> None:
        turn = self._turns[self._held[host]]
        del turn[host]
        if not turn:
            del self._turns[self._held[host]]
