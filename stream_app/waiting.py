"""Who finds no room for its kind of receiver waits a moment for it.

In two queues, served in turn: who comes for the first time does not stand behind what was turned away before, nor the
other way round. In each queue results of about one size have a line of their own, and where the queue is full the
longest line loses who has waited longest in it. So a flood that came at once is in nobody's way who comes after it, and
large results in no small one's.
"""

import asyncio
from collections.abc import Iterator
from itertools import count

from callstream.runtime.ties import Tie
from stream_app.shares import Kind, Share, Shares

_Turn = asyncio.Future[Share | None]
_ALIKE = 2  # binary digits by which the sizes in one line may differ


class _Wanted:
    """What one waits for; `passed` is how many bytes were given to others before it because it did not fit."""

    __slots__ = ("number", "passed", "size", "ties", "turn")

    def __init__(self, ties: tuple[Tie, ...], size: int, number: int) -> None:
        self.ties = ties
        self.size = size
        self.number = number
        self.turn: _Turn = asyncio.get_running_loop().create_future()
        self.passed = 0

    def answer(self, share: Share | None) -> None:
        if not self.turn.done():
            self.turn.set_result(share)


class _Line:
    """Those of about one size, in the order they came, and their bytes."""

    def __init__(self) -> None:
        self.waiting: dict[_Wanted, None] = {}
        self.size = 0


class _Queue:
    """Up to `most` that wait, with `size` bytes."""

    def __init__(self, most: int, size: int) -> None:
        self._most = most
        self._size = size
        self._lines: dict[int, _Line] = {}

    def __bool__(self) -> bool:
        return bool(self._lines)

    def put(self, wanted: _Wanted) -> None:
        line = self._lines.setdefault(_class_of(wanted), _Line())
        line.waiting[wanted] = None
        line.size += wanted.size
        while sum(len(line.waiting) for line in self._lines.values()) > self._most:
            self._turn_away(max(self._lines.values(), key=lambda line: len(line.waiting)))
        while sum(line.size for line in self._lines.values()) > self._size:
            self._turn_away(max(self._lines.values(), key=lambda line: line.size))

    def remove(self, wanted: _Wanted) -> None:
        """Let go of what may have been taken already."""
        line = self._lines.get(_class_of(wanted))
        if line is not None and wanted in line.waiting:
            del line.waiting[wanted]
            line.size -= wanted.size
            if not line.waiting:
                del self._lines[_class_of(wanted)]

    def heads(self) -> list[_Wanted]:
        """Return the first of each line, who came first before others."""
        return sorted((next(iter(line.waiting)) for line in self._lines.values()), key=lambda wanted: wanted.number)

    def _turn_away(self, line: _Line) -> None:
        oldest = next(iter(line.waiting))
        self.remove(oldest)
        oldest.answer(None)


class Waiting:
    """Gives out the room of one kind: `most` with `size` bytes may wait in each queue, up to `seconds`."""

    def __init__(self, shares: Shares, kind: Kind, most: int, size: int, seconds: float) -> None:
        self._shares = shares
        self._kind = kind
        self._size = size if most else 0
        self._seconds = seconds
        self._first, self._again = _Queue(most, size), _Queue(most, size)
        self._turns = (self._first, self._again)  # the one whose turn it is before the other
        self._numbers = count()
        shares.queues[kind] = self

    def __bool__(self) -> bool:
        return bool(self._first or self._again)

    async def claim(self, ties: tuple[Tie, ...], size: int, *, again: bool = False) -> Share | None:
        """Return room for a callback of `size` bytes, to be given back; None if there is none for it soon.

        It comes `again` if it was turned away before. Who is tied to too many others is turned away at its turn.
        """
        queue = self._again if again else self._first
        if not queue and self._shares.has_room(self._kind, size):
            return self._shares.claim(self._kind, ties, size)
        if size > self._size:
            return None
        wanted = _Wanted(ties, size, next(self._numbers))
        queue.put(wanted)
        self.serve()
        alarm = asyncio.get_running_loop().call_later(self._seconds, wanted.answer, None)
        try:
            return await wanted.turn
        except asyncio.CancelledError:
            turn = wanted.turn
            if turn.done() and not turn.cancelled() and (share := turn.result()) is not None:
                self._shares.give_back(share)  # it came too late
            raise
        finally:
            alarm.cancel()
            queue.remove(wanted)

    def serve(self) -> None:
        """Give those that wait what room there is."""
        while self and self._shares.has_room(self._kind, 0):
            found = self._next()
            if found is None:
                return
            queue, wanted = found
            queue.remove(wanted)
            self._turns = (self._first, self._again) if queue is self._again else (self._again, self._first)
            if not wanted.turn.done():
                wanted.answer(self._shares.claim(self._kind, wanted.ties, wanted.size))

    def _next(self) -> tuple[_Queue, _Wanted] | None:
        """Return the first one that fits, if those before it let it pass: each as many bytes as it has itself."""
        passed: list[_Wanted] = []
        for queue, wanted in self._heads():
            if self._shares.has_room(self._kind, wanted.size):
                for each in passed:
                    each.passed += wanted.size
                return queue, wanted
            if wanted.passed >= wanted.size:
                return None
            passed.append(wanted)
        return None

    def _heads(self) -> Iterator[tuple[_Queue, _Wanted]]:
        for queue in self._turns:
            for wanted in queue.heads():
                yield queue, wanted


def _class_of(wanted: _Wanted) -> int:
    return wanted.size.bit_length() // _ALIKE
