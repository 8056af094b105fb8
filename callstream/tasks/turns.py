"""Turns at computing in the event loop, so that what others do there goes on between them."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext

from callstream.sharing.turns import Turns

_SHORT = 64 * 1024  # bytes that are gone through in some milliseconds
_NOTICED = 0.005  # seconds for which the loop stands still before others notice


class LoopTurns:
    """Each task has its turn, one after the other; what is short, and what begins, has turns of its own."""

    def __init__(self) -> None:
        self._short, self._long, self._beginning = Turns(), Turns(), Turns()

    async def begin(self, task_id: str) -> None:
        """Return in the turn of the loop in which another item may begin, and no other one does.

        With hundreds under way each turn of the loop would else take as long as what all of them compute at once, and
        what needs many turns, such as a record that is read and written, would wait for that many times as much.
        """
        await self._beginning.begin(task_id)

    @asynccontextmanager
    async def turn(
        self, task_id: str, size: int, waiting: Callable[[], AbstractContextManager[None]] = nullcontext
    ) -> AsyncIterator[None]:
        """Hold a turn for what goes through `size` bytes, and leave the loop to others behind it.

        It is waited for in a block of `waiting`.

        After a long one they have it for as long, since what they do takes many of the loop's own turns.
        """
        turns = self._short if size <= _SHORT else self._long
        with waiting():
            await turns.take(task_id)
        began = time.perf_counter()
        try:
            yield
        finally:
            took = time.perf_counter() - began
            try:
                await asyncio.sleep(took if took > _NOTICED else 0)
            finally:
                turns.give_back()
