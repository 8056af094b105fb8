"""How many bytes of answers and results the tasks under way may keep, all together."""

import asyncio
import math
import sys
from collections.abc import Hashable
from types import TracebackType
from typing import Self

_SMALL = 16 * 1024  # bytes that every task may hold as long as there is room at all
_LEAD = 1.0  # seconds for which a task goes on beyond the limit before another one that waits may


class Budget:
    """Room for `limit` bytes of as many `tasks` as may be under way, so that small answers never wait.

    A quarter is set aside for them: of it each task has an equal part, which it takes first. Of the rest half is set
    aside for the lanes, an equal share for each, and half is for whoever comes first. Who finds no room waits, for its
    own lane's alone. The n-th task of a lane that holds something of the rest may hold one n-th of what it leaves free:
    so n of them, whatever they want and however long they keep it, leave one part in n + 1 to who comes.

    What an item came to is kept until its task is done, so tasks that wait could hold what they wait for. Hence in each
    lane one of those that wait, first who began to wait first, goes on beyond the limit: until its task is done, or,
    where others wait, for a second. What such tasks keep then is bounded as well.
    """

    def __init__(self, limit: int, lanes: int = 1, tasks: int = 0) -> None:
        self.small = min(_SMALL, limit // 4 // tasks) if tasks else 0
        rest = limit - tasks * self.small
        self._own = rest // (2 * max(lanes, 1))
        self._shared = rest - lanes * self._own  # bytes, less what lanes hold beyond their own
        self._spare = limit // 8  # bytes beyond the limit, with which another may go on beyond it
        self._lanes: dict[Hashable, _Lane] = {}

    @property
    def used(self) -> int:
        """How many bytes are taken."""
        return sum(lane.small + lane.used + lane.beyond for lane in self._lanes.values())

    @property
    def is_waited_for(self) -> bool:
        return any(lane.waiting for lane in self._lanes.values())

    def share(self, lane: Hashable = "") -> "Share":
        """Return what a task takes its room from, and gives all of it back to in the end."""
        return Share(self, self._lanes.setdefault(lane, _Lane()))

    def grab(self, share: "Share", size: int) -> bool:
        """Return whether there was room at once, which is then taken."""
        if (held := share.held + size) <= self.small:  # as most do
            share.held = held
            share.lane.small += size
            return True
        if size and share is not share.lane.lead and not self._has(share, held):
            return False
        self.force(share, size)
        return True

    async def wait(self, share: "Share", size: int) -> None:
        """Return when there was room, which is then taken."""
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        lane = share.lane
        share.since = min(share.since, asyncio.get_running_loop().time())
        lane.waiting.setdefault(share, {})[place] = size
        self._hand_out(lane)
        try:
            await place
        except asyncio.CancelledError:
            lane.leave(share, place)
            if place.done() and not place.cancelled():  # it was served, too late
                self.give(share, size)
            raise

    def force(self, share: "Share", size: int) -> None:
        """Take room, whether it is there or not; a lead takes nothing that is left to others."""
        lane = share.lane
        leads = share is lane.lead and not self._has(share, share.held + size)
        more = self._change(share, size)
        if leads:
            share.beyond += more
            lane.beyond += more
        else:
            self._use(lane, more)

    def give(self, share: "Share", size: int) -> None:
        lane, less = share.lane, -self._change(share, -size)
        beyond = min(less, share.beyond)
        share.beyond -= beyond
        lane.beyond -= beyond
        shared = self._shared
        self._use(lane, beyond - less)
        for other in self._lanes.values():
            has_more = other is lane or self._shared > shared  # than before
            if has_more and other.waiting:
                self._hand_out(other)

    def close(self, share: "Share") -> None:
        if share.lane.lead is share:
            share.lane.lead = None
        self.give(share, share.held)

    def _change(self, share: "Share", size: int) -> int:
        """Let the share hold so much more, or less; return how much of that is of the rest."""
        lane, before = share.lane, max(0, share.held - self.small)
        share.held += size
        after = max(0, share.held - self.small)
        lane.small += size - (after - before)
        lane.holders += (after > 0) - (before > 0)
        return after - before

    def _use(self, lane: "_Lane", size: int) -> None:
        before = max(0, lane.used - self._own)
        lane.used += size
        self._shared -= max(0, lane.used - self._own) - before

    def _free(self, lane: "_Lane") -> int:
        return max(0, self._own - lane.used) + max(0, self._shared)

    def _has(self, share: "Share", held: int) -> bool:
        """Return whether the share may hold so much, which is more than what is small."""
        before, after = max(0, share.held - self.small), held - self.small
        left = self._free(share.lane) - (after - before)
        return left >= 0 and after <= max(_SMALL, left // (share.lane.holders + (not before)))

    def _hand_out(self, lane: "_Lane") -> None:
        for share in sorted(lane.waiting, key=lambda share: share.since):
            self._serve(share)
        now = asyncio.get_running_loop().time()
        if lane.waiting and (lane.lead is None or (now >= lane.until and lane.beyond <= self._spare)):
            lane.lead = min(lane.waiting, key=lambda share: share.since)
            lane.until = now + _LEAD
            self._serve(lane.lead)
            asyncio.get_running_loop().call_at(lane.until, self._hand_out, lane)

    def _serve(self, share: "Share") -> None:
        """Let those of a task go on for whom there is room."""
        for place, size in tuple(share.lane.waiting.get(share, {}).items()):
            if not place.done():  # or else it was cancelled
                if not self.grab(share, size):
                    return
                place.set_result(None)
            share.lane.leave(share, place)


class _Lane:
    """What the tasks of one lane hold, `used` of what is not for the `small` and more `beyond` it, and who waits."""

    def __init__(self) -> None:
        self.small = 0  # bytes
        self.used = 0  # bytes
        self.beyond = 0  # bytes
        self.holders = 0  # tasks that hold more than what is small
        self.lead: Share | None = None
        self.until = 0.0  # in the loop's time: when another may lead
        self.waiting: dict[Share, dict[asyncio.Future[None], int]] = {}

    def leave(self, share: "Share", place: "asyncio.Future[None]") -> None:
        """Take `place` out, which may be out already."""
        places = self.waiting.get(share, {})
        places.pop(place, None)
        if not places:
            self.waiting.pop(share, None)


class Share:
    """A task's part of the budget, in bytes; all of it goes back with the end of the `with` block."""

    def __init__(self, budget: Budget, lane: _Lane) -> None:
        self._budget = budget
        self.lane = lane
        self.held = 0
        self.beyond = 0  # the limit, of what is held
        self.since = math.inf  # in the loop's time: when it waited first

    def grab(self, size: int) -> bool:
        """Return whether there was room for `size` bytes more at once, which is then taken."""
        return self._budget.grab(self, size)

    async def take(self, size: int) -> None:
        """Return when there was room for `size` bytes more, which is then taken."""
        if not self._budget.grab(self, size):
            await self._budget.wait(self, size)

    def force(self, size: int) -> None:
        """Take room for `size` bytes more, whether it is there or not."""
        self._budget.force(self, size)

    def give(self, size: int) -> None:
        self._budget.give(self, size)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._budget.close(self)


def unlimited() -> Share:
    return Budget(sys.maxsize).share()
