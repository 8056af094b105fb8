"""How many bytes of answers and results the tasks under way may keep, all together."""

import asyncio
import sys
from types import TracebackType
from typing import Self


class Budget:
    """Room for `limit` bytes; who finds none waits, in the order of asking.

    Half of it is for what is not `large`: large answers that come to no end leave the others theirs.

    What an item came to is kept until its task is done, so tasks that wait could hold what they wait for. Hence the
    task that has kept something for longest always goes on, beyond the limit if it must, and gives all back in the end.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._shares: dict[Share, None] = {}  # those that hold or want something, the oldest first
        self._waiting: dict[asyncio.Future[None], tuple[Share, int, bool]] = {}

    @property
    def used(self) -> int:
        return self._used

    def share(self) -> "Share":
        """Return what a task takes its room from, and gives all of it back to in the end."""
        return Share(self)

    def grab(self, share: "Share", size: int, *, large: bool) -> bool:
        """Return whether there was room at once, which is then taken."""
        self._shares.setdefault(share)
        if share is not self._oldest and (self._is_waited_for(large=large) or not self._has(size, large=large)):
            return False
        self.force(share, size)
        return True

    async def wait(self, share: "Share", size: int, *, large: bool) -> None:
        """Return when there was room, which is then taken."""
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[place] = (share, size, large)
        try:
            await place
        except asyncio.CancelledError:
            if self._waiting.pop(place, None) is None:
                self.give(share, size)
            raise

    def give(self, share: "Share", size: int) -> None:
        share.held -= size
        self._used -= size
        wants = self._waiting and any(waiting is share for waiting, _, _ in self._waiting.values())
        if not share.held and not wants:
            self._shares.pop(share, None)
        if self._waiting:
            self._hand_out()

    def close(self, share: "Share") -> None:
        self._shares.pop(share, None)
        self.give(share, share.held)

    @property
    def _oldest(self) -> "Share | None":
        return next(iter(self._shares), None)

    def force(self, share: "Share", size: int) -> None:
        """Take room, whether it is there or not."""
        self._shares.setdefault(share)
        share.held += size
        self._used += size

    def _has(self, size: int, *, large: bool) -> bool:
        return self._used + size <= (self._limit // 2 if large else self._limit)

    def _is_waited_for(self, *, large: bool) -> bool:
        return any(other == large for _, _, other in self._waiting.values())

    def _hand_out(self) -> None:
        oldest = self._oldest
        full = {True: False, False: False}
        for place, (share, size, large) in tuple(self._waiting.items()):
            full[large] = full[large] or not self._has(size, large=large)
            if share is oldest or not full[large]:
                del self._waiting[place]
                if not place.done():  # or else it was cancelled
                    self.force(share, size)
                    place.set_result(None)


class Share:
    """A task's part of the budget, in bytes; all of it goes back with the end of the `with` block."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.held = 0

    def grab(self, size: int) -> bool:
        """Return whether there was room for `size` bytes more at once, which is then taken."""
        return self._budget.grab(self, size, large=False)

    async def take(self, size: int, *, large: bool = False) -> None:
        """Return when there was room for `size` bytes more, which is then taken."""
        if not self._budget.grab(self, size, large=large):
            await self._budget.wait(self, size, large=large)

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
