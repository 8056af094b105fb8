"""Those who never answered yet wait for a moment where there is no room for their kind.

In two queues, served in turn: who comes for the first time does not stand behind what was turned away before, nor the
other way round. In each the one that has waited longest goes where it is full: a flood that came at once is in nobody's
way who comes after it.
"""

import asyncio
from typing import NamedTuple

from callstream.runtime.ties import Tie
from stream_app.shares import Kind, Share, Shares

_Turn = asyncio.Future[Share | None]


class _Wanted(NamedTuple):
    ties: tuple[Tie, ...]
    size: int


class _Queue:
    """What waits, in the order it came, and its bytes."""

    def __init__(self) -> None:
        self.waiting: dict[_Turn, _Wanted] = {}
        self.size = 0

    def put(self, turn: _Turn, wanted: _Wanted) -> None:
        self.waiting[turn] = wanted
        self.size += wanted.size

    def remove(self, turn: _Turn) -> None:
        """Let go of what may have been taken already."""
        if (wanted := self.waiting.pop(turn, None)) is not None:
            self.size -= wanted.size


class Newcomers:
    """Gives out the room for those who are new: `most` with `size` bytes may wait in each queue, up to `seconds`."""

    def __init__(self, shares: Shares, most: int, size: int, seconds: float) -> None:
        self._shares = shares
        self._most = most
        self._size = size
        self._seconds = seconds
        self._first, self._again = _Queue(), _Queue()
        self._turns = (self._first, self._again)  # the one whose turn it is before the other
        shares.on_freed = self._serve

    async def claim(self, ties: tuple[Tie, ...], size: int, *, again: bool) -> Share | None:
        """Return room for a callback of `size` bytes, to be given back; None if there is none for it soon.

        It comes `again` if it was turned away before. Who is tied to too many others is turned away at its turn.
        """
        queue = self._again if again else self._first
        if not queue.waiting and self._shares.has_room(Kind.NEW, size):
            return self._shares.claim(Kind.NEW, ties, size)
        if not self._most or size > self._size:
            return None
        turn: _Turn = asyncio.get_running_loop().create_future()
        self._put(queue, turn, _Wanted(ties, size))
        alarm = asyncio.get_running_loop().call_later(self._seconds, _answer, turn, None)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and (share := turn.result()) is not None:
                self._shares.give_back(share)  # it came too late
            raise
        finally:
            alarm.cancel()
            queue.remove(turn)

    def _put(self, queue: _Queue, turn: _Turn, wanted: _Wanted) -> None:
        while len(queue.waiting) >= self._most or queue.size + wanted.size > self._size:
            oldest = next(iter(queue.waiting))
            queue.remove(oldest)
            _answer(oldest, None)
        queue.put(turn, wanted)

    def _serve(self) -> None:
        while self._first.waiting or self._again.waiting:
            queue = self._turns[0] if self._turns[0].waiting else self._turns[1]
            turn, wanted = next(iter(queue.waiting.items()))
            if not self._shares.has_room(Kind.NEW, wanted.size):
                return
            queue.remove(turn)
            self._turns = (self._first, self._again) if queue is self._again else (self._again, self._first)
            if not turn.done():
                turn.set_result(self._shares.claim(Kind.NEW, wanted.ties, wanted.size))


def _answer(turn: _Turn, share: Share | None) -> None:
    if not turn.done():
        turn.set_result(share)
