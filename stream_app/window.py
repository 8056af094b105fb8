"""The window of one partition: which records are begun, and how far the partition may be committed."""

from collections import deque


class Slot:
    """A begun record's place in its window."""

    __slots__ = ("finished", "offset")

    def __init__(self, offset: int) -> None:
        self.offset = offset
        self.finished = False


class Window:
    """The begun records of one partition, in offset order.

    Only the finished prefix counts: `position` never passes a record that is not finished, in whatever order the
    others finish. So a crash repeats at most the window's span and loses nothing.
    """

    def __init__(self, span: int) -> None:
        self._span = span
        self._slots: deque[Slot] = deque()
        self._next: int | None = None

    @property
    def position(self) -> int | None:
        """The offset to commit: of the oldest unfinished record, or behind the last one; None before the first."""
        return self._slots[0].offset if self._slots else self._next

    @property
    def following(self) -> int:
        """The offset behind the last that was begun."""
        return self._next or 0

    @property
    def full(self) -> bool:
        return len(self._slots) >= self._span

    def begin(self, offset: int, following: int | None = None) -> Slot:
        """Take the next record in; `following` is the offset behind it, where that is not the next one.

        Raises:
            ValueError: the offset does not follow those before it.
        """
        if self._next is not None and offset < self._next:
            raise ValueError(f"offset {offset} was begun before; the next is {self._next} or later")
        slot = Slot(offset)
        self._slots.append(slot)
        self._next = offset + 1 if following is None else following
        return slot

    def finish(self, slot: Slot) -> None:
        """Note that the record's effect is durable, and let go of the prefix that is finished by it."""
        slot.finished = True
        while self._slots and self._slots[0].finished:
            self._slots.popleft()
