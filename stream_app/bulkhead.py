"""The bulkhead of one receiver: how many attempts at once, and the queue before them."""

import asyncio
from collections import deque


class Bulkhead:
    """Lets `least` in at once, after each `widen` one more up to `most`; the others wait in the order they came."""

    __slots__ = ("_least", "_most", "_queue", "allowed", "in_flight")

    def __init__(self, least: int, most: int) -> None:
        self._least = least
        self._most = most
        self._queue: deque[asyncio.Future[bool]] = deque()
        self.allowed = least
        self.in_flight = 0

    @property
    def queued(self) -> int:
        return len(self._queue)

    @property
    def has_room(self) -> bool:
        return self.in_flight < self.allowed and not self._queue

    def widen(self) -> None:
        self.allowed = min(self._most, self.allowed + 1)

    def narrow(self) -> None:
        self.allowed = self._least

    async def enter(self, patience: float) -> bool:
        """Return whether there was room within `patience`, in seconds; `leave` gives it back."""
        if self.has_room:
            self.in_flight += 1
            return True
        try:
            async with asyncio.timeout(patience):
                return await self._turn()
        except TimeoutError:
            return False

    def leave(self) -> None:
        self.in_flight -= 1
        self._call()

    def turn_away(self) -> None:
        """Tell all who are queued that their turn does not come soon."""
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(False)

    async def _turn(self) -> bool:
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                if turn.result():  # its turn had come
                    self.leave()
            elif turn in self._queue:  # `_call` may have passed over it since it was cancelled
                self._queue.remove(turn)
            raise

    def _call(self) -> None:
        while self._queue and self.in_flight < self.allowed:
            turn = self._queue.popleft()
            if not turn.done():
                self.in_flight += 1
                turn.set_result(True)
