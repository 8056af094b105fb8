"""The breaker of one receiver: after failures in a row it is left alone, and asked by one probe at a time."""

from collections.abc import Sequence
from datetime import timedelta
from enum import Enum

_SOON = 10.0  # seconds


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

    Times are seconds of one monotonic clock. What is fresh may probe when the first pause is over: nobody who is new
    waits for a receiver that has come back meanwhile.
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

    @property
    def is_probing(self) -> bool:
        return self._probing

    def rest(self, now: float, *, fresh: bool = False) -> timedelta:
        """Return after how long it is worth looking again whether the receiver answers; zero if it does.

        That is when it may be probed. From then on a probe is soon begun and soon over, or long in coming.
        """
        if self._until is None:
            return timedelta(0)
        left = self._probed_from(fresh=fresh) - now
        if left > 0:
            return timedelta(seconds=left)
        return self._pauses[0] if fresh or left > -_SOON else self._pauses[-1]

    def may_probe(self, now: float) -> bool:
        """Return whether the receiver is left alone, and has been for long enough."""
        return self._until is not None and not self._probing and now >= self._until

    def look(self, now: float, *, fresh: bool) -> Look:
        if self._until is None:
            return Look.CLOSED
        if self._probing:
            return Look.PROBED
        if now < self._probed_from(fresh=fresh):
            return Look.OPEN
        self._probing = True
        return Look.PROBE

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
        self._opened += 1
        self.put_off(now)
        return Change.OPENED

    def put_off(self, now: float) -> None:
        """Begin the last pause anew, after a probe that found out nothing."""
        self._since = now
        self._until = now + self._pauses[min(self._opened, len(self._pauses)) - 1].total_seconds()

    def _probed_from(self, *, fresh: bool) -> float:
        until = self._until or 0.0
        return min(until, self._since + self._pauses[0].total_seconds()) if fresh else until
