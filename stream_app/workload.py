"""The workload of a process: the windows of its partitions, and the work under way in them.

Pure asyncio. Whoever reads records admits them here, commits `positions()`, and revokes what it loses.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Protocol, cast

from callstream.contract.records import Record, TopicPartition
from callstream.contract.sizes import memory_of
from callstream.runtime.logs import get_logger
from callstream.sharing.room import Room
from stream_app.partition import Partition
from stream_app.window import Slot

_LOOK_AGAIN = 60.0  # seconds
_LET_GO = "the topic was deleted while records of it waited, too many to be kept"

log = get_logger()


class Flow(Protocol):
    """How the reader is told to read less of a partition, and to go on."""

    def hold(self, partition: TopicPartition) -> None: ...

    def release(self, partition: TopicPartition, again_from: int | None = None) -> None:
        """Go on; with `again_from`, read once more what begins there."""


class Workload:
    """Processes records, each in a task of its own, as many at once as `room` has for their `lane`, `span` a partition.

    `process` must not raise for anything that a record can bring; if it does, its record stays unfinished and `fail`
    is told, which is to end the process: what is not finished is read again. A record is not begun before `wake` (both
    it and `clock` in seconds since the epoch); those behind it in its partition wait with it, and no others do. While a
    record that is to be `alone` is under way, no other of its partition is begun. Beyond what
    the room has for those that wait, they are let go of, and read again when it is their turn.
    """

    def __init__(  # noqa: PLR0913 - its policy, and the world around it
        self,
        process: Callable[[Record], Awaitable[None]],
        *,
        span: int,
        room: Room,
        flow: Flow,
        fail: Callable[[BaseException], None],
        lane: Callable[[str], Hashable] = lambda topic: topic,
        wake: Callable[[Record], float] = lambda _: 0.0,
        alone: Callable[[Record], bool] = lambda _: False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._process = process
        self._span = span
        self._room = room
        self._lane = lane
        self._flow = flow
        self._fail = fail
        self._wake = wake
        self._alone = alone
        self._clock = clock
        self._partitions: dict[TopicPartition, Partition] = {}
        self._cut: list[Partition] = []  # what was read of logs that were cut off or made anew
        self._since: dict[asyncio.Task[None], float] = {}  # where it differs from when it was begun
        self._queue: deque[Partition] = deque()  # those with waiting records, served in turn
        self._open = True

    @property
    def running(self) -> int:
        """How many records are under way."""
        return self._room.records

    @property
    def oldest(self) -> float:
        """For how many seconds the oldest record has been under way; 0 if none is."""
        begun = [self._since.get(task, since) for each in self._all() for task, since in each.running.items()]
        return max(0.0, time.monotonic() - min(begun)) if begun else 0.0

    @contextmanager
    def standing_by(self) -> Iterator[None]:
        """Count no age for the record of the calling task, which waits for something else; then count it anew."""
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._since[task] = math.inf
        try:
            yield
        finally:
            self._since[task] = time.monotonic()

    def admit(self, record: Record) -> None:
        """Begin a record, or keep it until there is room; one that was admitted before is left alone.

        A reader that seeks back may bring records a second time while their first reading is under way.
        """
        anew = record.gap is not None and record.gap.anew
        partition = self._cut_off(record.partition) if anew else self._partition(record.partition)
        if not (anew or partition.takes(record)):
            return
        partition.next = record.following
        if anew:  # at once, for what waits may be forgotten
            self._begin(partition, record)
            return
        if partition.waiting or not self._has_room(partition) or self._wake(record) > self._clock():
            partition.keep(record)
            if len(partition.waiting) == 1:
                self._flow.hold(partition.name)
                self._queue_up(partition)
            self._bound_waiting(partition)
        else:
            self._begin(partition, record)

    def go_on(self, name: TopicPartition) -> None:
        """Begin what waits because a record was to be alone, beside all that is under way in the partition."""
        if (partition := self._partitions.get(name)) is not None:
            partition.alone = False
            partition.beside.update(partition.running)
            self._begin_waiting()

    def forget_waiting(self) -> None:
        """Forget what is not begun; whoever reads admits it again."""
        for partition in self._partitions.values():
            partition.read_on_from(partition.window.following)
            partition.again = None
            self._dequeue(partition)

    @property
    def partitions(self) -> Iterable[TopicPartition]:
        return self._partitions.keys()

    def positions(self) -> dict[TopicPartition, int]:
        """Return the offset to commit of every partition that has one."""
        found = ((name, partition.window.position) for name, partition in self._partitions.items())
        return {name: position for name, position in found if position is not None}

    def revoke(self, partitions: Iterable[TopicPartition]) -> None:
        """Forget these partitions; work under way in them is cancelled and whatever it still does has no say."""
        for name in partitions:
            partition = self._partitions.pop(name, None)
            if partition is None:
                continue
            self._dequeue(partition)
            for task in tuple(partition.running):
                task.cancel()

    def leave(self, partitions: Iterable[TopicPartition]) -> None:
        """Forget these partitions, whose logs are gone. What was read of them is done all the same: nobody else can."""
        for name in partitions:
            if (before := self._partitions.pop(name, None)) is None:
                continue
            self._cut.append(before)
            if before.again is not None:
                log.error("records.lost", partition=f"{name.topic}/{name.partition}", first=before.again, why=_LET_GO)
                self._dequeue(before)

    async def drain(self, seconds: float) -> bool:
        """Begin nothing more and wait for the work under way; return whether all of it ended in time."""
        self._open = False
        tasks = {task for partition in self._all() for task in partition.running}
        if not tasks:
            return True
        _, pending = await asyncio.wait(tasks, timeout=seconds)
        return not pending

    def resume(self) -> None:
        """Begin records again, after a drain."""
        self._open = True
        self._begin_waiting()

    def _all(self) -> Iterator[Partition]:
        self._cut = [partition for partition in self._cut if partition.running or partition.waiting]
        yield from (*self._cut, *self._partitions.values())

    def _partition(self, name: TopicPartition) -> Partition:
        if name not in self._partitions:
            self._partitions[name] = Partition(name, self._span, self._lane(name.topic))
        return self._partitions[name]

    def _cut_off(self, name: TopicPartition) -> Partition:
        """Begin a partition again."""
        self.leave([name])
        return self._partition(name)

    def _waits(self, name: TopicPartition) -> bool:
        return name in self._partitions and self._partitions[name].waits

    def _bound_waiting(self, partition: Partition) -> None:
        """Let go of what waits, where all of it is too much: of that which has to wait longest, or else of this."""
        if sum(each.size for each in self._all()) <= self._room.most_waiting:
            return
        asleep = [each for each in self._partitions.values() if each.waiting and each.alarm is not None]
        max(asleep, key=lambda each: each.due, default=partition).let_go()

    def _dequeue(self, partition: Partition) -> None:
        if partition in self._queue:
            self._queue.remove(partition)
        if partition.alarm is not None:
            partition.alarm.cancel()
            partition.alarm = None

    def _has_room(self, partition: Partition) -> bool:
        return self._open and not partition.full and self._room.has(partition.lane)

    def _begin(self, partition: Partition, record: Record) -> None:
        partition.alone = self._alone(record)
        slot = partition.window.begin(record.offset, record.following)
        task = asyncio.ensure_future(self._process(record))
        partition.running[task] = time.monotonic()
        self._room.enter(partition.lane, size := memory_of(record))
        task.add_done_callback(partial(self._ended, partition, slot, size))

    def _ended(self, partition: Partition, slot: Slot, size: int, task: asyncio.Task[None]) -> None:
        del partition.running[task]
        partition.beside.discard(task)
        self._room.leave(partition.lane, size)
        self._since.pop(task, None)
        if self._partitions.get(partition.name) is partition or partition in self._cut:  # or else it was revoked
            error = asyncio.CancelledError() if task.cancelled() else task.exception()
            if error is None:
                partition.window.finish(slot)
            else:
                self._fail(error)
        elif not task.cancelled():
            task.exception()  # seen; the partition's next owner reads the record again
        self._begin_waiting()

    def _queue_up(self, partition: Partition) -> None:
        """Queue a partition for room when the first of its waiting records may be begun."""
        loop = asyncio.get_running_loop()
        if partition.waiting:
            partition.due = loop.time() + self._wake(partition.waiting[0]) - self._clock()
        seconds = partition.due - loop.time()
        if seconds <= 0:
            partition.alarm = None
            self._queue.append(partition)
        else:
            # Looked at again in between, for the clock may be set.
            later = min(seconds, _LOOK_AGAIN)
            partition.alarm = loop.call_later(later, self._ring, partition)

    def _ring(self, partition: Partition) -> None:
        self._queue_up(partition)
        self._begin_waiting()

    def _begin_waiting(self) -> None:
        """Give free room to the partitions in turn, a record each."""
        full = []
        while self._queue and self._open:
            partition = self._queue.popleft()
            if not self._has_room(partition):
                full.append(partition)
                continue
            if partition.again is not None:
                partition.sent_back = True
                self._flow.release(partition.name, partition.again)
                continue
            self._begin(partition, partition.pop())
            if partition.waiting:
                self._queue_up(partition)
            elif not self._waits(partition.name):
                self._flow.release(partition.name)
        self._queue.extend(full)
