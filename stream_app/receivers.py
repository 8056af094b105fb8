"""Who asks which receiver when: a bulkhead and a breaker for each, and a share of the room that suits it.

None of them costs another anything: docs/decisions/0015-room-is-shared-by-how-long-it-is-held.md and
0016-what-waits-for-a-receiver-looks-every-half-minute.md.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from callstream.runtime.egress import dials_seen_by
from callstream.runtime.logs import get_logger
from callstream.runtime.ties import public_suffixes
from stream_app.acquaintances import Acquaintances
from stream_app.breaker import Breaker, Look
from stream_app.bulkhead import Bulkhead
from stream_app.looks import Looks
from stream_app.outcome import Outcome, Unreachable
from stream_app.patience import Patience
from stream_app.receiver import Receiver, ReceiverState
from stream_app.shares import Kind, Share, Shares
from stream_app.waiting import Waiting

log = get_logger()

_UNPROVEN_AT_ONCE = 8  # attempts at a receiver that did not answer well the last time, or was never asked
_MOST_KNOWN = 10_000  # receivers remembered that proved good, and as many others
_QUEUED = timedelta(seconds=2)  # who waits holds room that others need
LONGEST_QUEUED = 3 * _QUEUED  # for room, behind a probe, and for its turn
NEWCOMERS = 7  # of the room, one part in so many may wait in each of the two queues of those who are new
LATE = 6  # and one in so many in that of those who answer late
QUICK = timedelta(seconds=1)  # an attempt that takes longer is no quick one from then on


@dataclass(frozen=True)
class Limits:
    """`in_flight` attempts at one receiver at once; `total` callbacks with `size` bytes at all receivers.

    The largest callback has `largest` bytes.

    `queue` more may wait at a receiver that did not answer well the last time, and as many behind a probe; at one that
    did answer, as many as will have their turn soon.

    A breaker opens after `failures` in a row, for the first of `pauses`, then the next, each further time.
    """

    in_flight: int
    queue: int
    total: int
    size: int
    largest: int
    failures: int
    pauses: Sequence[timedelta]


class Busy(NamedTuple):
    """The receiver was not asked, or not to the end, because of `why`; it is of no use to ask again for `rest`.

    It is `away`, for all that is known, or else it answers and has enough to do. `crowded`: so many wait that it
    may not look soon.
    """

    why: str
    rest: timedelta = timedelta(0)
    away: bool = False
    crowded: bool = False


class _Call(NamedTuple):
    attempt: Callable[[], Awaitable[Outcome]]
    size: int
    fresh: bool
    again: bool


class Receivers:
    """All receivers by their key (scheme, host and port), a bounded number; `clock` is monotonic, in seconds."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._shares = Shares(limits.total, limits.size, limits.largest)
        self._new = self._waiting(Kind.NEW, NEWCOMERS)
        self._late = self._waiting(Kind.SLOW, LATE)
        self._looks = Looks()
        public_suffixes()  # here, so that no callback waits for it
        self._known = Acquaintances(_MOST_KNOWN)

    async def ask(
        self, key: str, attempt: Callable[[], Awaitable[Outcome]], *, size: int, fresh: bool, again: bool = False
    ) -> Outcome | Busy:
        """Make the attempt, with `size` bytes, when the receiver has room, or say that it has none.

        Nothing is charged for that. A receiver whose breaker is open is asked by one probe at a time; who comes
        meanwhile waits for what it finds out. What is `fresh`, new and never tried, may probe early. What comes
        `again` was turned away before.
        """
        receiver, call = self._receiver(key), _Call(attempt, size, fresh, again)
        look = receiver.breaker.look(self._clock(), fresh=fresh)
        try:
            if look is Look.OPEN or (look is Look.PROBED and receiver.behind >= self._limits.queue):
                return self._away(receiver, call)
            if look is Look.CLOSED and receiver.is_full(self._limits.queue, _QUEUED.total_seconds()):
                return _full(receiver)
            share = await self._claim(receiver, call, probe=look is Look.PROBE)
            if share is None:
                return _full(receiver)
            try:
                return await self._in_turn(receiver, share, call, look)
            finally:
                self._shares.give_back(share)
        finally:
            if look is Look.PROBE:
                receiver.end_probe()

    def is_away(self, key: str) -> bool:
        """Return whether the receiver is known to be left alone."""
        receiver = self._known.get(key)
        return receiver is not None and receiver.breaker.is_open

    def worth_asking(self, key: str) -> bool:
        """Return whether one that waits for it may ask before its time: it answers again, or may be probed."""
        receiver = self._known.get(key)
        if receiver is None:
            return False
        return receiver.breaker.may_probe(self._clock()) or (receiver.proven and not receiver.breaker.is_open)

    def rest(self, key: str) -> timedelta:
        """Return after how long it is worth looking again whether the receiver answers."""
        receiver = self._known.get(key)
        return timedelta(0) if receiver is None else receiver.breaker.rest(self._clock())

    def may_look(self, key: str, size: int) -> bool:
        """Return whether one that waits for the receiver, with `size` bytes, may look soon whether it is back."""
        return self._looks.may_look(key, size, self._clock())

    def held(self, kind: Kind) -> tuple[int, int]:
        """Return the callbacks and the bytes that receivers of a kind hold, for metrics."""
        return self._shares.held(kind)

    def states(self) -> dict[str, ReceiverState]:
        """Return the receivers that are known at the moment, for metrics."""
        now = self._clock()
        return {receiver.key: receiver.state(now) for receiver in self._known}

    def _receiver(self, key: str) -> Receiver:
        receiver = self._known.use(key)
        if receiver is None:
            limits = self._limits
            bulkhead = Bulkhead(min(limits.in_flight, _UNPROVEN_AT_ONCE), limits.in_flight)
            receiver = Receiver(key, bulkhead, Breaker(limits.failures, limits.pauses))
            self._known.add(receiver)
        return receiver

    def _waiting(self, kind: Kind, part: int) -> Waiting:
        limits = self._limits
        return Waiting(self._shares, kind, limits.total // part, limits.size // part, _QUEUED.total_seconds())

    async def _claim(self, receiver: Receiver, call: _Call, *, probe: bool) -> Share | None:
        kind = receiver.kind(QUICK.total_seconds(), probe=probe)
        if kind is Kind.NEW:
            return await self._new.claim(receiver.ties, call.size, again=call.again)
        if kind is Kind.SLOW:
            return await self._late.claim(receiver.ties, call.size)
        return self._shares.claim(kind, receiver.ties, call.size)

    async def _in_turn(self, receiver: Receiver, share: Share, call: _Call, look: Look) -> Outcome | Busy:
        if look is Look.PROBED and not await receiver.returned(_QUEUED.total_seconds()):
            return self._away(receiver, call)
        if not await receiver.bulkhead.enter(_QUEUED.total_seconds()):
            return _full(receiver)
        try:
            if look is not Look.PROBE and receiver.breaker.is_open:  # it opened while this one was queued
                return self._away(receiver, call)
            return await self._attempt(receiver, share, call.attempt, probe=look is Look.PROBE)
        finally:
            receiver.bulkhead.leave()

    async def _attempt(
        self, receiver: Receiver, share: Share, attempt: Callable[[], Awaitable[Outcome]], *, probe: bool
    ) -> Outcome | Busy:
        began = self._clock()
        quick, slow = QUICK.total_seconds(), receiver.patience()
        patience = Patience(self._shares, share, receiver.begin_overdue, quick=quick, slow=slow)
        try:
            with dials_seen_by(patience.dials):
                outcome = await patience.run(attempt)
        finally:
            receiver.remember(patience.addresses)
        now = self._clock()
        if outcome is None:
            log.warning("callback.cut-short", receiver=receiver.key, after=round(now - began, 3))
            if probe and receiver.breaker.is_open:  # or else another attempt has found out meanwhile
                receiver.breaker.put_off(now)
            return Busy("it takes its time, and so do as many others as may")
        if patience.turned_back and isinstance(outcome, Unreachable):
            return Busy("others hold what is to be had for those at its address")
        receiver.learn(outcome, now - began, now, overdue=patience.overdue, probe=probe)
        return outcome

    def _away(self, receiver: Receiver, call: _Call) -> Busy:
        why = f"the receiver failed {receiver.breaker.failed} times in a row"
        now = self._clock()
        rest = receiver.breaker.rest(now, fresh=call.fresh and self._looks.seldom(receiver.key, now))
        return Busy(why, rest, away=True, crowded=not self.may_look(receiver.key, call.size))


def _full(receiver: Receiver) -> Busy:
    away = not receiver.proven and receiver.kind(QUICK.total_seconds()) >= Kind.SLOW
    return Busy("the receiver has as many callbacks under way as it may", away=away)
