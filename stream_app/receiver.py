"""What is known of one receiver, and who waits for it."""

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from callstream.runtime.logs import get_logger
from callstream.runtime.ties import Tie, ties_of
from stream_app.breaker import Breaker, Change
from stream_app.bulkhead import Bulkhead
from stream_app.outcome import Failed, Outcome, Throttled, Unreachable
from stream_app.shares import Kind

log = get_logger()

_SERVER_ERROR = 500
_AVERAGED = 10  # attempts
_LATE = 3  # attempts in a row that take too long: one that does may be an exception
_SLOW = 5.0  # seconds; what has not answered by then is silent
_OFF = 2  # times what its last good answer took, if that is more: who is known to take long is given longer


class ReceiverState(NamedTuple):
    """A receiver as metrics see it."""

    in_flight: int
    queued: int
    rest: timedelta | None  # for how long it is left alone; None if it is not


class Receiver:
    """A receiver with its bulkhead and its breaker; times are seconds of one monotonic clock."""

    __slots__ = (
        "_behind",
        "_good",
        "_known_ties",
        "_late",
        "_seconds",
        "breaker",
        "bulkhead",
        "key",
        "proven",
        "ties",
    )

    def __init__(self, key: str, bulkhead: Bulkhead, breaker: Breaker) -> None:
        self.key = key
        self.ties = self._known_ties = ties_of(key)
        self.bulkhead = bulkhead
        self.breaker = breaker
        self.proven = False  # whether the last attempt was answered well
        self._seconds: float | None = None  # that an attempt takes, the last ones more than those before
        self._good: float | None = None  # seconds that the last attempt took that was answered well
        self._late: int | None = None  # attempts since the last quick one that were not; None if there was none at all
        self._behind: list[asyncio.Future[None]] = []  # those who wait for the end of a probe

    @property
    def behind(self) -> int:
        """How many wait for the end of a probe."""
        return len(self._behind)

    @property
    def idle(self) -> bool:
        return not (self.bulkhead.in_flight or self.bulkhead.queued or self._behind)

    @property
    def delivered(self) -> bool:
        """Whether it ever answered well."""
        return self._good is not None

    def kind(self, quick: float, *, probe: bool = False) -> Kind:
        """Return what is to be expected of it; who takes up to `quick` seconds is quick.

        For a `probe`, of which there is one at a time, it is what it was when it answered well.
        """
        if self._late is None:
            return Kind.NEW
        if self._late < _LATE:
            return Kind.QUICK
        if self._good is None:
            return Kind.SILENT
        return Kind.QUICK if probe and self._good <= quick else Kind.SLOW

    def patience(self) -> float | None:
        """Return after how many seconds an attempt counts as silent; None if it is not known to answer at all."""
        return None if self._good is None else max(_SLOW, _OFF * self._good)

    def is_full(self, queue: int, soon: float) -> bool:
        """Return whether who comes now would not have its turn soon."""
        bulkhead = self.bulkhead
        if bulkhead.has_room:
            return False
        if not self.proven and bulkhead.queued >= queue:
            return True
        return (self._seconds or 0.0) * bulkhead.queued / bulkhead.allowed > soon

    async def returned(self, patience: float) -> bool:
        """Return what a probe finds out within `patience` seconds, if one is under way: whether it answers again."""
        if not self.breaker.is_probing:
            return not self.breaker.is_open
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._behind.append(waiting)
        try:
            async with asyncio.timeout(patience):
                await waiting
        except TimeoutError:
            return False
        finally:
            self._behind.remove(waiting)
        return not self.breaker.is_open

    def end_probe(self) -> None:
        self.breaker.end_probe()
        for waiting in self._behind:
            if not waiting.done():
                waiting.set_result(None)

    def begin_overdue(self) -> None:
        """Note that an attempt takes longer than a quick one."""
        if self._late is None:  # nothing speaks for it, and those behind hold the room of who is new
            self._late = _LATE
            self.bulkhead.turn_away()
        else:
            self._late += 1

    def remember(self, addresses: Iterable[Tie]) -> None:
        """Note where it was found this time, if it was dialled at all."""
        if found := tuple(addresses):
            self.ties = tuple(dict.fromkeys((*self._known_ties, *found)))

    def learn(self, outcome: Outcome, took: float, now: float, *, overdue: bool, probe: bool) -> None:
        """Take in how an attempt ended, after `took` seconds; one that was `overdue` was not quick."""
        failed = _is_failure(outcome)
        change = self.breaker.learn(now, failed=failed, probe=probe)
        back = change is Change.CLOSED or (not overdue and (self._late or 0) >= _LATE)
        if self._seconds is None or back:  # what it took while it was away says nothing now
            self._seconds = took
        else:
            self._seconds += (took - self._seconds) / _AVERAGED
        if not overdue:
            self._late = 0
        self.proven = not failed
        if failed:
            self.bulkhead.narrow()
        else:
            self._good = took
            self.bulkhead.widen()
        self._tell(change, now)

    def state(self, now: float) -> ReceiverState:
        rest = self.breaker.rest(now) if self.breaker.is_open else None
        return ReceiverState(self.bulkhead.in_flight, self.bulkhead.queued, rest)

    def _tell(self, change: Change | None, now: float) -> None:
        if change is Change.OPENED:
            until = datetime.now(UTC) + self.breaker.rest(now)
            failures = self.breaker.failed
            log.warning("receiver.left-alone", receiver=self.key, failures=failures, until=until.isoformat())
        elif change is Change.CLOSED:
            log.info("receiver.back", receiver=self.key)


def _is_failure(outcome: Outcome) -> bool:
    """Return whether the outcome speaks of the receiver, and not of this one callback."""
    match outcome:
        case Throttled() | Unreachable():
            return True
        case Failed(status):
            return status >= _SERVER_ERROR
        case _:
            return False
