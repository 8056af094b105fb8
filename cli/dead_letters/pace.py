"""A bound on how often something is done."""

import asyncio
import time
from collections.abc import Awaitable, Callable


class Pace:
    """Gives `rate` turns a second at most; what was slow is not made up for by a burst."""

    def __init__(
        self,
        rate: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._interval = 1 / rate
        self._clock = clock
        self._sleep = sleep
        self._next = float("-inf")

    async def turn(self) -> None:
        """Return when it may be done once more."""
        if (wait := self._next - self._clock()) > 0:
            await self._sleep(wait)
        self._next = max(self._next, self._clock()) + self._interval
