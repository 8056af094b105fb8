"""Turns at what only one can have at a time, given to one client after the other, however many each one asks for."""

import asyncio

from callstream.sharing.fair_queue import FairQueue


class Turns:
    """One turn at a time, round robin by client."""

    def __init__(self) -> None:
        self._taken = False
        self._waiting: FairQueue[asyncio.Future[None]] = FairQueue()

    async def take(self, client: str) -> None:
        """Return when it is this one's turn, which lasts until `give_back`."""
        if not self._taken:
            self._taken = True
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.put(client, turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back()  # it came too late
            raise

    async def begin(self, client: str) -> None:
        """Return when it is this one's turn, which ends by itself with this turn of the event loop."""
        await self.take(client)
        asyncio.get_running_loop().call_soon(self.give_back)

    def give_back(self) -> None:
        while self._waiting:
            turn = self._waiting.take()
            if not turn.done():
                turn.set_result(None)
                return
        self._taken = False
