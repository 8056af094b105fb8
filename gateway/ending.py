"""Holds the gateway's processes to their time once they are told to stop: uvicorn waits for a lifespan for ever."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType

from callstream.runtime.watchdog import Watchdog

# Seconds beyond the time that every request has; by the watchdog's stronger means they become up to 10, or 13.
_OWN = 8.0
_PARENT = 11.0


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
