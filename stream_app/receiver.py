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


class ReceiverState(NamedTuple):
    """A receiver as metrics see it."""

    in_flight: int
    queued: int
    rest: timedelta | None  # for how long it is left alone; None if it is not


class Receiver:
    """A receiver with its bulkhead and its breaker; times are seconds of one monotonic clock."""

    __slots__ = (
        "_behind",
        "_known_ties",
        "_overdue",
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
        self._overdue = 0  # attempts under way that are no longer quick
        self._behind: list[asyncio.Future[None]] = []  # those who wait for the end of a probe

    @property
    def behind(self) -> int:
        """How many wait for the end of a probe."""
        return len(self._behind)

    @property
    def idle(self) -> bool:
        return not (self.bulkhead.in_flight or self.bulkhead.queued or self._behind)

    def kind(self, quick: float) -> Kind:
        """Return what is to be expected of it; who takes up to `quick` seconds is quick."""
        if self._overdue:
            return Kind.SLOW
        if self._seconds is None:
            return Kind.NEW
        return Kind.QUICK if self._seconds <= quick else Kind.SLOW

    def is_full(self, queue: int, soon: float) -> bool:
        """Return whether who comes now would not have its turn soon."""
        bulkhead = self.bulkhead
        if bulkhead.has_room:
            return False
        if not self.proven and bulkhead.queued >= queue:
            return True
        return (self._seconds or 0.0) * bulkhead.queued / bulkhead.allowed > soon

    async def returned(self, patience: float) -> bool:
        """Return what a probe under way finds out within `patience` seconds: whether the receiver answers again."""
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
        self._overdue += 1
        if self._seconds is None:  # nothing speaks for it, and those behind hold the room of who is new
            self.bulkhead.turn_away()

    def end_overdue(self) -> None:
        self._overdue -= 1

    def cut_short(self, after: float) -> None:
        """Note that an attempt was ended by us `after` so many seconds, nobody knows how long before its end."""
        self._seconds = max(self._seconds or 0.0, 2 * after)

    def remember(self, addresses: Iterable[Tie]) -> None:
        """Note where it was found this time, if it was dialled at all."""
        if found := tuple(addresses):
            self.ties = tuple(dict.fromkeys((*self._known_ties, *found)))

    def learn(self, outcome: Outcome, took: float, now: float, *, probe: bool) -> None:
        """Take in how an attempt ended, after `took` seconds."""
        failed = _is_failure(outcome)
        change = self.breaker.learn(now, failed=failed, probe=probe)
        if self._seconds is None or change is Change.CLOSED:  # what it took while it was away says nothing now
            self._seconds = took
        else:
            self._seconds += (took - self._seconds) / _AVERAGED
        self.proven = not failed
        if failed:
            self.bulkhead.narrow()
        else:
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
