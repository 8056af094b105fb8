"""How lanes, such as the task types, share what there is so much of, so that none can take what another needs."""

import asyncio
from collections.abc import Hashable

from callstream.sharing.fair_queue import FairQueue


class Lanes:
    """A limit that is shared by lanes, of which the number is known beforehand.

    Half of it is set aside, an equal share for each lane and at least one where there are as many, so that no lane can
    fill it all against the others; the rest is for whoever comes first.
    """

    def __init__(self, limit: int, lanes: int) -> None:
        lanes = max(lanes, 1)
        self._own = max(limit // (2 * lanes), 1 if limit >= lanes else 0)
        self._shared_limit = limit - lanes * self._own
        self._held: dict[Hashable, int] = {}
        self._shared = 0  # what the lanes have beyond their own shares, together

    def has(self, lane: Hashable) -> bool:
        """Return whether this lane may take more; how much, it is free to choose."""
        return self._held.get(lane, 0) < self._own or self._shared < self._shared_limit

    def change(self, lane: Hashable, amount: int) -> None:
        """Count what a lane takes, or gives back where it is negative."""
        before = self._held.get(lane, 0)
        self._held[lane] = held = before + amount
        self._shared += max(0, held - self._own) - max(0, before - self._own)


class Places:
    """Places for the items of so many task types: who finds none waits, and the types have their turns in a circle."""

    def __init__(self, most: int, types: int) -> None:
        self._lanes = Lanes(most, types)
        self._waiting: FairQueue[asyncio.Future[None]] = FairQueue()

    async def take(self, task: str) -> None:
        """Return when there is a place for an item of this type, which is its own until `give_back`."""
        if self._lanes.has(task):
            self._lanes.change(task, 1)
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.put(task, place)
        try:
            await place
        except asyncio.CancelledError:
            self._waiting.discard(task, place)
            if place.done() and not place.cancelled():
                self.give_back(task)  # it came too late
            raise

    def give_back(self, task: str) -> None:
        self._lanes.change(task, -1)
        while (next_ := next(filter(self._lanes.has, self._waiting), None)) is not None:
            place = self._waiting.take(next_)
            if not place.done():  # or else it was cancelled
                self._lanes.change(next_, 1)
                place.set_result(None)
