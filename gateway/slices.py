"""Short work in the event loop, of which each of its turns has a part, one client after the other."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from callstream.sharing.fair_queue import FairQueue


@dataclass(eq=False)
class _Work:
    run: Callable[[], bytes]
    by: float  # in the loop's time
    result: asyncio.Future[bytes] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Slices:
    """Runs short work in the event loop, at most `most` seconds of it in each of the loop's turns, and one more piece.

    What is beyond that waits for the next turn, between which the loop does everything else; clients are served round
    robin. What is not begun by its deadline is not begun any more.
    """

    def __init__(self, most: float, clock: Callable[[], float] = time.perf_counter) -> None:
        self._most = most
        self._clock = clock
        self._left = most  # seconds of this turn
        self._turning = False  # the next turn is asked for
        self._waiting: FairQueue[_Work] = FairQueue()

    async def run(self, client: str, work: Callable[[], bytes], by: float) -> bytes:
        """Return what `work` does.

        Raises:
            TimeoutError: it was not begun `by` then (in the loop's time).
        """
        if asyncio.get_running_loop().time() >= by:
            raise TimeoutError
        if self._left > 0 and not self._waiting:
            return self._timed(work)
        waiting = _Work(work, by)
        self._waiting.put(client, waiting)
        return await waiting.result

    def _timed(self, work: Callable[[], bytes]) -> bytes:
        if not self._turning:
            self._turning = True
            asyncio.get_running_loop().call_soon(self._turn)
        began = self._clock()
        try:
            return work()
        finally:
            self._left -= self._clock() - began

    def _turn(self) -> None:
        self._turning = False
        self._left = self._most
        now = asyncio.get_running_loop().time()
        while self._waiting and self._left > 0:
            self._settle(self._waiting.take(), now)

    def _settle(self, waiting: _Work, now: float) -> None:
        if waiting.result.done():
            return  # nobody waits any more
        if now >= waiting.by:
            waiting.result.set_exception(TimeoutError())
            return
        try:
            waiting.result.set_result(self._timed(waiting.run))
        except Exception as error:  # noqa: BLE001 - whose work it is has it
            waiting.result.set_exception(error)
