"""The breaker of one receiver: after failures in a row it is left alone, and asked by one probe at a time."""

from collections.abc import Sequence
from datetime import timedelta
from enum import Enum


class Look(Enum):
    """What one who comes finds."""

    CLOSED = "closed"  # it may ask
    PROBE = "probe"  # it may ask, and decides for the others; `end_probe` must follow
    PROBED = "probed"  # another is just finding out
    OPEN = "open"  # the receiver is left alone


class Change(Enum):
    """What an outcome changed."""

    OPENED = "opened"  # also: for longer
    CLOSED = "closed"


class Breaker:
    """Opens after `failures` in a row, for the first of `pauses`, then the next, each further time.

    Times are seconds of one monotonic clock. What was never tried before, or is looked at for the first time since, may
    probe when the first pause is over, so that nobody who is new waits for a receiver that has come back meanwhile.
    """

    __slots__ = ("_failures", "_opened", "_pauses", "_probing", "_since", "_until", "failed")

    def __init__(self, failures: int, pauses: Sequence[timedelta]) -> None:
        self._failures = failures
        self._pauses = pauses
        self.failed = 0  # in a row
        self._opened = 0  # times in a row
        self._since = 0.0
        self._until: float | None = None
        self._probing = False

    @property
    def is_open(self) -> bool:
        return self._until is not None

    def rest(self, now: float) -> timedelta:
        """Return for how long the receiver is left alone."""
        return timedelta(seconds=max(0.0, (self._until or now) - now))

    def look(self, now: float, *, fresh: bool) -> Look:
        if self._until is None:
            return Look.CLOSED
        if self._probing:
            return Look.PROBED
        first = self._since + self._pauses[0].total_seconds()
        if now >= (min(first, self._until) if fresh else self._until):
            self._probing = True
            return Look.PROBE
        return Look.OPEN

    def end_probe(self) -> None:
        self._probing = False

    def learn(self, now: float, *, failed: bool, probe: bool) -> Change | None:
        """Take in how an attempt ended; `failed` speaks of the receiver, and not of the one callback."""
        if not failed:
            was_open = self.is_open
            self.failed = self._opened = 0
            self._until = None
            return Change.CLOSED if was_open else None
        self.failed += 1
        if not probe and (self.is_open or self.failed < self._failures):
            return None
        self._since = now
        self._until = now + self._pauses[min(self._opened, len(self._pauses) - 1)].total_seconds()
        self._opened += 1
        return Change.OPENED
