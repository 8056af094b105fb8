"""A bulkhead and a breaker for each receiver, so that none of them costs another anything."""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from stream_app.outcome import Failed, Outcome, Throttled, Unreachable

_UNPROVEN_AT_ONCE = 8  # attempts at a receiver that did not answer well the last time, or was never asked
_SERVER_ERROR = 500
_MOST_KNOWN = 10_000  # receivers remembered, the least recently used is forgotten
LONGEST_QUEUED = timedelta(seconds=2)  # who waits holds room that others need
_AVERAGED = 10  # attempts
_PASSED_OVER = 10  # at a time, so that no call takes long


@dataclass(frozen=True)
class Limits:
    """`in_flight` attempts at one receiver at once, `total` at all receivers.

    `queue` more may wait at a receiver that did not answer well the last time; at one that did, as many as will have
    their turn soon, at most half of `total`.

    A breaker opens after `failures` in a row, for the first of `pauses`, then the next, each further time.
    """

    in_flight: int
    queue: int
    total: int
    failures: int
    pauses: Sequence[timedelta]


class Busy(NamedTuple):
    """The receiver was not asked, because of `why`; it is of no use to ask again before `until`.

    It is `away`, for all that is known, or else it answers and has enough to do.
    """

    why: str
    until: datetime
    away: bool


class ReceiverState(NamedTuple):
    """A receiver as metrics see it."""

    in_flight: int
    queued: int
    open_until: datetime | None


class _Receiver:
    __slots__ = ("allowed", "failed", "in_flight", "open_until", "opened", "probing", "proven", "queue", "seconds")

    def __init__(self, allowed: int) -> None:
        self.in_flight = 0
        self.queue: deque[asyncio.Future[None]] = deque()
        self.allowed = allowed
        self.proven = False  # whether the last attempt was answered well
        self.seconds = 0.0  # that an attempt takes, the last ones more than those before
        self.failed = 0  # in a row
        self.opened = 0  # times in a row
        self.open_until: datetime | None = None
        self.probing = False

    @property
    def idle(self) -> bool:
        return not self.in_flight and not self.queue


class Receivers:
    """All receivers by their key (scheme, host and port), a bounded number of them."""

    def __init__(self, limits: Limits, clock: Callable[[], datetime]) -> None:
        self._limits = limits
        self._clock = clock
        self._least = min(limits.in_flight, _UNPROVEN_AT_ONCE)
        self._known: OrderedDict[str, _Receiver] = OrderedDict()
        self._unproven = 0  # attempts and queued ones at receivers that are not proven

    async def ask(self, key: str, attempt: Callable[[], Awaitable[Outcome]], *, may_probe: bool) -> Outcome | Busy:
        """Make the attempt when the receiver has room, or say that it has none; nothing is charged for that.

        A receiver whose breaker is open is asked by one probe at a time, and only by a caller that `may_probe`: a
        probe may hang, and must not hold up what comes behind it.
        """
        receiver = self._receiver(key)
        probe = receiver.open_until is not None
        if (busy := self._refusal(receiver, may_probe=may_probe)) is not None:
            return busy
        counted = not receiver.proven
        self._unproven += counted
        receiver.probing = receiver.probing or probe
        entered = False
        try:
            entered = await self._enter(receiver)
            if not entered:
                return _full(receiver, self._clock())
            if not probe and receiver.open_until is not None:  # it opened while this one was queued
                return _away(receiver, receiver.open_until)
            began = time.monotonic()
            outcome = await attempt()
            receiver.seconds += (time.monotonic() - began - receiver.seconds) / _AVERAGED
            self._learn(receiver, outcome, probe=probe)
            return outcome
        finally:
            self._unproven -= counted
            if probe:
                receiver.probing = False
            if entered:
                self._leave(receiver)

    def states(self) -> dict[str, ReceiverState]:
        """Return the receivers that are known at the moment, for metrics."""
        return {
            key: ReceiverState(receiver.in_flight, len(receiver.queue), receiver.open_until)
            for key, receiver in self._known.items()
        }

    def _receiver(self, key: str) -> _Receiver:
        receiver = self._known.get(key)
        if receiver is None:
            receiver = self._known[key] = _Receiver(self._least)
            self._forget()
        else:
            self._known.move_to_end(key)
        return receiver

    def _forget(self) -> None:
        """Forget the least recently used, passing over those that are in use."""
        for _ in range(_PASSED_OVER):
            if len(self._known) <= _MOST_KNOWN:
                return
            key, oldest = next(iter(self._known.items()))
            if oldest.idle:
                del self._known[key]
            else:
                self._known.move_to_end(key)

    def _refusal(self, receiver: _Receiver, *, may_probe: bool) -> Busy | None:
        now = self._clock()
        if receiver.open_until is not None:
            if receiver.probing:  # for as long as it would be left alone if the probe failed
                return _away(receiver, now + self._pause(receiver))
            if not may_probe or now < receiver.open_until:
                return _away(receiver, receiver.open_until)
            return None
        # However many receivers hang, those that answer find half of the room.
        if not receiver.proven and self._unproven >= self._limits.total // 2:
            return Busy("too many receivers do not answer", now, away=True)
        return _full(receiver, now) if self._is_full(receiver) else None

    def _is_full(self, receiver: _Receiver) -> bool:
        queued = len(receiver.queue)
        if receiver.in_flight < receiver.allowed:
            return False
        if not receiver.proven:
            return queued >= self._limits.queue
        turn = queued * receiver.seconds / receiver.allowed
        return turn > LONGEST_QUEUED.total_seconds() or queued >= self._limits.total // 2

    async def _enter(self, receiver: _Receiver) -> bool:
        """Return whether there was room, now or soon; `_leave` gives it back."""
        if receiver.in_flight < receiver.allowed and not receiver.queue:
            receiver.in_flight += 1
            return True
        try:
            async with asyncio.timeout(LONGEST_QUEUED.total_seconds()):
                await self._turn(receiver)
        except TimeoutError:
            return False
        return True

    async def _turn(self, receiver: _Receiver) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        receiver.queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # its turn had come
                self._leave(receiver)
            elif turn in receiver.queue:  # `_leave` may have passed over it since it was cancelled
                receiver.queue.remove(turn)
            raise

    def _leave(self, receiver: _Receiver) -> None:
        receiver.in_flight -= 1
        while receiver.queue and receiver.in_flight < receiver.allowed:
            turn = receiver.queue.popleft()
            if not turn.done():
                receiver.in_flight += 1
                turn.set_result(None)

    def _learn(self, receiver: _Receiver, outcome: Outcome, *, probe: bool) -> None:
        limits = self._limits
        if not _is_failure(outcome):
            receiver.failed = receiver.opened = 0
            receiver.open_until = None
            receiver.proven = True
            receiver.allowed = min(limits.in_flight, receiver.allowed + 1)
            return
        receiver.proven = False
        receiver.allowed = self._least
        receiver.failed += 1
        if probe or (receiver.open_until is None and receiver.failed >= limits.failures):
            receiver.open_until = self._clock() + self._pause(receiver)
            receiver.opened += 1

    def _pause(self, receiver: _Receiver) -> timedelta:
        return self._limits.pauses[min(receiver.opened, len(self._limits.pauses) - 1)]


def _away(receiver: _Receiver, until: datetime) -> Busy:
    return Busy(f"the receiver failed {receiver.failed} times in a row", until, away=True)


def _full(receiver: _Receiver, now: datetime) -> Busy:
    return Busy("the receiver has as many callbacks under way as it may", now, away=not receiver.proven)


def _is_failure(outcome: Outcome) -> bool:
    """Return whether the outcome speaks of the receiver, and not of this one callback."""
    match outcome:
        case Throttled() | Unreachable():
            return True
        case Failed(status):
            return status >= _SERVER_ERROR
        case _:
            return False
