"""One partition of a workload: its window, what is under way in it, and what was read and waits."""

import asyncio
from collections import deque
from collections.abc import Hashable

from callstream.contract.records import Record, TopicPartition
from callstream.contract.sizes import memory_of
from stream_app.window import Window


class Partition:
    """A partition's window, the records read that found no room in it, and the work under way."""

    __slots__ = (
        "again",
        "alarm",
        "alone",
        "beside",
        "due",
        "lane",
        "name",
        "next",
        "running",
        "sent_back",
        "size",
        "waiting",
        "window",
    )

    def __init__(self, name: TopicPartition, span: int, lane: Hashable) -> None:
        self.name = name
        self.lane = lane
        self.window = Window(span)
        self.waiting: deque[Record] = deque()
        self.size = 0  # bytes that the waiting take in memory
        self.due = 0.0  # when the first of them may be begun, in the loop's time
        self.again: int | None = None  # that one's offset, where all were let go of and are to be read again
        self.sent_back = False  # whether the reader was told so; what comes until then was read before
        self.running: dict[asyncio.Task[None], float] = {}  # since when, the oldest first
        self.next = 0  # what is before was admitted
        self.alone = False  # what was begun last wants nothing beside it, except for what is in:
        self.beside: set[asyncio.Task[None]] = set()
        self.alarm: asyncio.TimerHandle | None = None  # rings when the first of the waiting is to be begun

    @property
    def full(self) -> bool:
        return self.window.full or (self.alone and len(self.running) > len(self.beside))

    @property
    def waits(self) -> bool:
        return bool(self.waiting) or (self.again is not None and not self.sent_back)

    def keep(self, record: Record) -> None:
        self.waiting.append(record)
        self.size += memory_of(record)

    def pop(self) -> Record:
        record = self.waiting.popleft()
        self.size -= memory_of(record)
        return record

    def let_go(self) -> None:
        """Keep no more of the waiting than where they stand and when they are due."""
        self.again, self.sent_back = self.waiting[0].offset, False
        self.read_on_from(self.again)

    def read_on_from(self, offset: int) -> None:
        self.next = offset
        self.waiting.clear()
        self.size = 0

    def takes(self, record: Record) -> bool:
        """Return whether it comes next: where some were let go of, the first of those does."""
        if self.again is None:
            return record.offset >= self.next
        if not self.sent_back or record.offset != self.again:
            return False
        self.again = None
        return True
