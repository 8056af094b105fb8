"""How the gateway's processes end: in time, as uvicorn waits for a lifespan for ever, and after a failure by a code."""

import math
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType

from uvicorn.config import STARTUP_FAILURE

from callstream.runtime.logs import get_logger
from callstream.runtime.watchdog import Watchdog
from gateway.http_protocol import ON_ITS_WAY

log = get_logger()

FLUSH = 4.0  # seconds at most that the producer has once all requests are answered
# Seconds beyond the time that every request has: 3 for requests on their way, those of the flush, 1 to spare. By the
# watchdog's stronger means they become up to 10, or 13.
_OWN = 8.0
_PARENT = 11.0


def time_for_answers(deadline: timedelta) -> int:
    """Return the seconds, whole ones for uvicorn, until the last request that may still come has its answer."""
    return math.ceil(ON_ITS_WAY + deadline.total_seconds())


class Failing:
    """The first failure of this process that only a restart can mend."""

    def __init__(self) -> None:
        self._error: BaseException | None = None

    def fail(self, error: BaseException) -> None:
        """Tell it, and let the process stop as it does on SIGTERM."""
        self._error = self._error or error
        log.error("process.failed", process="gateway", error=repr(error), exc_info=error)
        signal.raise_signal(signal.SIGTERM)

    def leave(self) -> None:
        """End the process, if it failed; what is ours is closed by now.

        uvicorn takes whatever follows a signal for a good end. Of a worker it takes this code for one that no other
        worker can mend, and ends them all.
        """
        if self._error is not None:
            os._exit(STARTUP_FAILURE)


@contextmanager
def ending_in_time(deadline: timedelta, *, parent: bool = False) -> Iterator[None]:
    """Count from SIGTERM, SIGINT or the end of the block: a process that is still there after that time is ended.

    Whoever handles these signals already hears them as before. A `parent` has the time that its workers have, and some.
    """
    watchdog = Watchdog("gateway", deadline.total_seconds() + (_PARENT if parent else _OWN))
    for number in (signal.SIGTERM, signal.SIGINT):
        _arm_on(number, watchdog)
    try:
        yield
    finally:
        watchdog.arm()


def _arm_on(number: signal.Signals, watchdog: Watchdog) -> None:
    stop = signal.getsignal(number)

    def handle(received: int, frame: FrameType | None) -> None:
        watchdog.arm()
        if callable(stop):
            stop(received, frame)

    signal.signal(number, handle)
