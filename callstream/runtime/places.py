"""Places for connections, shared between the hosts that they lead to, by how long those hold them.

Docs: docs/decisions/0029-places-for-fetches-are-shared-by-how-long-they-are-held.md.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from enum import IntEnum

from callstream.contract.receivers import LONGEST_HOST, canonical_host
from callstream.runtime.ties import Tie, address_tie, public_suffixes, ties_of

QUICK = 1.0  # seconds; what holds its place for longer is slow
SLOW = 5.0  # seconds; what has not answered by then is silent
_LATE = 0.1  # seconds that a timer is late where the loop was held up
_MOST_KNOWN = 10_000  # hosts remembered, the least recently used is forgotten
_WEIGHT = 2  # what may be in one hand, for each place that is left free: two thirds of all, for one alone


class Pace(IntEnum):
    """What is expected of a host, by what its last request was like, and what the one under way is so far."""

    QUICK = 0  # it lets go soon
    NEW = 1  # nothing is known
    SLOW = 2  # it answers, later
    SILENT = 3  # it holds what it gets, and whether it will answer is not known


_LEAST = (4, 3, 2, 1)  # the part that the others leave to each pace, in sixteenths


class Host:
    """What is known of a host: in whose hand it is, and behind whom it waits."""

    __slots__ = ("line", "name", "owner", "pace")

    def __init__(self, name: str) -> None:
        self.name = name
        *_, self.owner = ties_of(f"http://{f'[{name}]' if ':' in name else name}:80")
        self.line = self.owner  # or an address, where others held enough at it
        self.pace = Pace.NEW


class Place:
    """A connection's place. `cut`, where it is set, ends what holds it, which may then wait for another.

    Who has read an answer to its end sets `answered`; `shown` is what the host's pace is so far, if it does answer.
    `overdue` is a place that others are to have; what was `cut_before` waits among the silent, or it would be again.
    """

    __slots__ = (
        "alarm",
        "answered",
        "cut",
        "cut_before",
        "due",
        "host",
        "left",
        "line",
        "overdue",
        "pace",
        "shown",
        "ties",
        "turned_back",
        "uncounted",
    )

    def __init__(self, host: Host, *, cut_before: bool = False) -> None:
        self.host = host
        self.cut_before = cut_before
        self.answered = self.overdue = False
        self.shown = Pace.QUICK
        self.turned_back = False  # from an address
        self.cut: Callable[[], None] | None = None
        self.alarm: asyncio.TimerHandle | None = None
        self.due = 0.0  # when it rings, in the loop's time: of what is due at once uvloop's handle does not tell
        self.left: float | None = None  # seconds until it rings, while it is stopped
        self.uncounted: list[Tie] = []
        self.learn()

    @property
    def expected(self) -> Pace:
        return Pace.SILENT if self.cut_before else self.host.pace

    def learn(self) -> None:
        """Take in what is known of the host by now."""
        host = self.host
        self.pace = self.expected
        self.line = host.owner if self.pace is Pace.QUICK else host.line
        self.ties = [host.owner] if self.line is host.owner else [host.owner, self.line]


class Places:
    """Room for `limit` connections; each pace finds a part of it free of the others.

    What is in one hand (a registered domain, a dialled address) may have one more as long as it has fewer than twice
    what is free. Of those that wait who has the fewest has its turn first.
    """

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._least = [limit * part // 16 for part in _LEAST]
        self._kept = [*self._least]  # what of it is free
        self._used = [0] * len(Pace)
        self._held: dict[Tie, int] = {}
        self._queues = [_Queue(pace, self._held) for pace in Pace]
        self._hosts: OrderedDict[str, Host] = OrderedDict()
        public_suffixes()  # here, so that no fetch waits for it

    async def take(self, name: str, *, cut_before: bool = False) -> Place:
        """Return a place for the host, when there is one."""
        place = Place(self._host(name), cut_before=cut_before)
        queue = self._queues[place.pace]
        if place.line not in queue.lines and self._has(place.pace, self._held.get(place.line, 0)):
            self._count(place, 1)
        else:
            await self._wait(place)
        self._arm(place, QUICK)
        return place

    def give(self, place: Place) -> None:
        """Take a place back, and let those have it that wait."""
        if place.alarm is not None:
            place.alarm.cancel()
        place.alarm = place.left = None
        if not place.turned_back:
            self._learn(place)
        self._count(place, -1)
        self._hand_out()

    def pause(self, place: Place) -> None:
        """Stop the clock of a place, while it is we who keep its host waiting."""
        if place.alarm is not None:
            place.left = place.due - asyncio.get_running_loop().time()
            place.alarm.cancel()
            place.alarm = None

    def resume(self, place: Place) -> None:
        """Let the clock go on; that of a place which was given back does not."""
        if place.left is None:
            return
        left, place.left = place.left, None
        if left > 0:
            self._arm(place, left)
        else:  # not in the loop's next turn, before which the next piece may come
            place.due = asyncio.get_running_loop().time()
            self._ring(place)

    def dials(self, place: Place, address: str) -> bool:
        """Return whether `address` may be dialled; if not, the host waits behind those at it from then on."""
        tie = address_tie(address)
        if tie in place.ties:
            return True
        if place.pace is Pace.QUICK:  # many good hosts share one address
            place.uncounted.append(tie)
        elif self._held.get(tie, 0) < _WEIGHT * (self._free_for(place.pace) + 1):  # its own is free when given back
            place.ties.append(tie)
            self._change(tie, 1)
        else:
            place.turned_back = True
            place.host.line = tie
        return not place.turned_back

    def _learn(self, place: Place) -> None:
        host, known = place.host, place.pace in {Pace.QUICK, Pace.SLOW}  # who was is not silent by one late error
        silent = place.shown > Pace.QUICK and not (place.answered or known)
        host.pace = Pace.SILENT if silent else place.shown
        if host.pace is Pace.SILENT and self._hosts.get(host.name) is host:  # it is forgotten before those that answer
            self._hosts.move_to_end(host.name, last=False)

    def _host(self, name: str) -> Host:
        name = canonical_host(name[:LONGEST_HOST])
        host = self._hosts.get(name)
        if host is None:
            host = self._hosts[name] = Host(name)
            if len(self._hosts) > _MOST_KNOWN:
                self._hosts.popitem(last=False)
        else:
            self._hosts.move_to_end(name)
        return host

    def _free_for(self, pace: Pace) -> int:
        return self._free - sum(self._kept) + self._kept[pace]

    def _has(self, pace: Pace, held: int) -> bool:
        return held < _WEIGHT * self._free_for(pace)

    def _count(self, place: Place, by: int) -> None:
        """Count one place more (1), or less (-1)."""
        self._free -= by
        self._used[place.pace] += by
        self._kept[place.pace] = max(self._least[place.pace] - self._used[place.pace], 0)
        for tie in place.ties:
            self._change(tie, by)

    def _change(self, tie: Tie, by: int) -> None:
        lined_up = [queue for queue in self._queues if tie in queue.lines]
        for queue in lined_up:
            queue.step_out(tie)
        if left := self._held.get(tie, 0) + by:
            self._held[tie] = left
        else:
            del self._held[tie]
        for queue in lined_up:
            queue.line_up(tie)

    def _arm(self, place: Place, seconds: float) -> None:
        place.due = asyncio.get_running_loop().time() + seconds
        place.alarm = asyncio.get_running_loop().call_at(place.due, self._ring, place)

    def _ring(self, place: Place) -> None:
        """Count a place that is held for longer than its pace as a slower one's, or end what holds it.

        Else those that hang would fill what is for others.
        """
        place.alarm = None
        if asyncio.get_running_loop().time() - place.due > _LATE:  # it was we who were held up: it may be over by now
            self._arm(place, QUICK)
            return
        if place.shown is Pace.QUICK:
            place.shown = Pace.SLOW
            self._arm(place, SLOW - QUICK)
        else:
            place.shown = Pace.SILENT
        if place.shown > place.pace:
            # Who was quick may be slow for once, as long as those that are known to be slow leave room for it.
            once = place.pace is Pace.QUICK and place.shown is Pace.SLOW
            self._move(place, [Pace.SLOW, Pace.SILENT] if once else [Pace.SILENT])

    def _move(self, place: Place, paces: list[Pace]) -> None:
        """Count the place as one of the first pace that has room for it."""
        host, before = place.host, place.pace
        self._count(place, -1)
        place.pace = next((pace for pace in paces if self._has_room(place, pace)), before)
        if place.pace is not before:
            host.pace = max(host.pace, place.pace)
            place.ties = list(dict.fromkeys([*place.ties, *place.uncounted]))
        else:
            host.pace = Pace.SILENT
            place.overdue = True
            if place.cut is not None:
                place.shown = Pace.SILENT
                place.cut()
        self._count(place, 1)
        self._hand_out()

    async def _wait(self, place: Place) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queues[place.pace].join(place, turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not self._queues[place.pace].leave(place, turn) and not turn.cancelled():  # it was given it already
                self._count(place, -1)
                self._hand_out()
            raise

    def _has_room(self, place: Place, pace: Pace) -> bool:
        """Return whether the place may count as one of this pace; other hands that wait for such go before it."""
        queue = self._queues[pace]
        if queue.turns and self._has(pace, min(queue.turns)):
            return queue.first() in place.ties
        return self._free_for(pace) > 0

    def _hand_out(self) -> None:
        while (queue := self._next_queue()) is not None:
            place, turn = queue.next()
            if turn.done():  # it was cancelled
                continue
            if place.pace is not place.expected:  # it waits where such as its host do, maybe before this queue
                place.learn()
                self._queues[place.pace].join(place, turn)
            else:
                self._count(place, 1)
                turn.set_result(None)

    def _next_queue(self) -> "_Queue | None":
        ready = (queue for queue in self._queues if queue.turns and self._has(queue.pace, min(queue.turns)))
        return next(ready, None)


class _Queue:
    """Who waits for places of one pace, in lines of those in one hand; `held` is how many places each hand has."""

    def __init__(self, pace: Pace, held: Mapping[Tie, int]) -> None:
        self.pace = pace
        self._held = held
        self.lines: dict[Tie, dict[asyncio.Future[None], Place]] = {}
        self.turns: dict[int, dict[Tie, None]] = {}  # the lines, by how many places their hand has

    def join(self, place: Place, turn: asyncio.Future[None]) -> None:
        if place.line not in self.lines:
            self.lines[place.line] = {}
            self.line_up(place.line)
        self.lines[place.line][turn] = place

    def leave(self, place: Place, turn: asyncio.Future[None]) -> bool:
        """Return whether it still waited."""
        line = self.lines.get(place.line)
        if line is None or line.pop(turn, None) is None:
            return False
        if not line:
            self.step_out(place.line)
            del self.lines[place.line]
        return True

    def first(self) -> Tie:
        """Return the first line of those whose hand holds the fewest places."""
        return next(iter(self.turns[min(self.turns)]))

    def next(self) -> tuple[Place, asyncio.Future[None]]:
        """Take the first one out of the first line."""
        turn, place = next(iter(self.lines[self.first()].items()))
        self.leave(place, turn)
        return place, turn

    def line_up(self, tie: Tie) -> None:
        self.turns.setdefault(self._held.get(tie, 0), {})[tie] = None

    def step_out(self, tie: Tie) -> None:
        turn = self.turns[self._held.get(tie, 0)]
        del turn[tie]
        if not turn:
            del self.turns[self._held.get(tie, 0)]
