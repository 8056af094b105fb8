"""What a fetch brought of a partition: its records, and gaps where there are none that can be had. Nothing raises."""

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple, Self

from aiokafka.structs import ConsumerRecord
from aiokafka.structs import TopicPartition as Partition

from callstream.contract.records import Gap
from callstream.contract.sizes import Sizes
from stream_app.kafka_marks import Marks
from stream_app.kafka_records import PADDING, Batch, Item, frames_of

_INFLATED = 4  # times the largest record: what a batch of several may have, uncompressed


class Limits(NamedTuple):
    """In bytes: what is kept of what cannot be decoded, and the most that a batch may inflate to."""

    kept: int
    inflated: int

    @classmethod
    def of(cls, sizes: Sizes) -> Self:
        return cls(kept=sizes.record, inflated=_INFLATED * sizes.record)


class Fetched:
    """The records of one answer, for aiokafka's fetcher, in place of its own PartitionRecords.

    Whoever lets go of it lets go of what it has inflated: nothing in it refers to it.
    """

    def __init__(self, *answer: Any, **options: Any) -> None:  # those of _Answer
        self._answer = _Answer(*answer, **options)
        self._records = self._answer.records()

    def __iter__(self) -> Iterator[ConsumerRecord]:
        return self

    def __next__(self) -> ConsumerRecord:
        return next(self._records)

    @property
    def next_fetch_offset(self) -> int:  # the name is aiokafka's
        return self._answer.next

    @property
    def inflated(self) -> int:
        """Bytes that the batch which is being read takes uncompressed."""
        return self._answer.inflated

    @property
    def empty(self) -> bool:
        return self._answer.empty

    def deflate(self) -> None:
        """Keep nothing uncompressed; whatever is read next inflates its batch again."""
        if self.inflated:
            self._records.close()
            self._records, self._answer.inflated = self._answer.records(), 0


class _Answer:
    """What came for a fetch, and how far it is read.

    `data` is what the broker sent for a fetch at `position`, `end` where its log ended, `aborted` the producer and the
    first offset of each aborted transaction in it. The partition's gap among `gaps` is told first and taken from them.
    `marks` are the partition's, from one answer to the next.
    """

    def __init__(  # noqa: PLR0913 - what an answer has
        self,
        partition: Partition,
        data: bytes,
        position: int,
        *,
        end: int,
        aborted: Sequence[tuple[int, int]],
        limits: Limits,
        gaps: dict[Partition, Gap],
        marks: Marks,
    ) -> None:
        self._partition = partition
        self._data = data + PADDING
        self._size = len(data)
        frames = list(frames_of(self._data, self._size))
        bases = [int.from_bytes(self._data[at : at + 8], signed=True) for at, _ in frames]
        self._frames = deque(zip_longest(frames, bases[1:]))  # of the batches that are not ended
        self.inflated = 0
        self._began = position
        self.next = position
        self._end = end
        self._aborted = sorted(aborted, key=lambda transaction: transaction[1])
        self._aborting: set[int] = set()  # producers whose records are of an aborted transaction
        self._limits = limits
        self._gaps = gaps
        self._marks = marks

    @property
    def empty(self) -> bool:
        return not self._size and self._partition not in self._gaps

    def records(self) -> Generator[ConsumerRecord]:
        """Yield what is not read yet."""
        if (gap := self._gaps.pop(self._partition, None)) is not None:
            yield self._record(Item(gap.following if gap.anew else gap.first, None, None, None, ()), gap)
        while self._frames:
            (start, end), following = self._frames[0]
            yield from self._batch(start, end, following)
            self.inflated = 0
            self._frames.popleft()
        if self._size and self.next == self._began:  # or it would be fetched for ever
            raw = self._data[: min(self._size, self._limits.kept)]
            yield from self._unreadable(raw, self._began + 1, "what the broker sends for this offset does not hold it")

    def _batch(self, start: int, end: int, following: int | None) -> Iterator[ConsumerRecord]:
        """Read one batch; behind it stands one that begins at `following`, if any does."""
        raw = self._data[start : min(end, start + self._limits.kept)]
        try:
            batch = Batch.at(self._data, start, end)
        except Exception as error:  # noqa: BLE001 - whatever it is that damaged bytes make it raise
            yield from self._unreadable(raw, following or self.next + 1, f"{type(error).__name__}: {error}")
            return
        try:
            batch.check()
            if self._passed_over(batch):
                self.next = max(self.next, batch.following)
                return
        except Exception as error:  # noqa: BLE001 - likewise
            # The head is no surer than the rest. Where it is the last batch, the log's end bounds what it may claim.
            until = following or min(batch.following, max(self._end, self.next + 1))
            yield from self._unreadable(raw, until, f"{type(error).__name__}: {error}")
            return
        yield from self._items(batch, raw)

    def _items(self, batch: Batch, raw: bytes) -> Iterator[ConsumerRecord]:
        damaged: bytearray | None = None  # what stood between the last good record and the next one
        why = "what is in the batch is no record"
        try:
            most = self._limits.inflated
            whole = batch.inflated(most)
            self.inflated = most if batch.inflates_late else len(whole.data) if whole is not batch else 0
            for item in whole.items(most, self.next, self._marks):
                if isinstance(item, bytes):
                    damaged = bytearray() if damaged is None else damaged
                    damaged += item[: self._limits.kept - len(damaged)]
                    continue
                if item.offset < self.next:
                    damaged = None
                    continue  # it was read before: a fetch from the middle of a batch brings all of it
                if damaged is not None:
                    yield from self._unreadable(bytes(damaged), item.offset, why)
                    damaged = None
                self.next = item.offset + 1
                yield self._record(item, None)
        except Exception as error:  # noqa: BLE001 - likewise
            damaged, why = bytearray(raw), f"{type(error).__name__}: {error}"
        if damaged is not None:
            yield from self._unreadable(bytes(damaged), batch.following, why)
        self.next = max(self.next, batch.following)

    def _passed_over(self, batch: Batch) -> bool:
        """Return whether the batch holds nothing for us: a marker of a transaction's end, or part of an aborted one."""
        while self._aborted and self._aborted[0][1] <= batch.base:
            self._aborting.add(self._aborted.pop(0)[0])
        if batch.control:
            self._aborting.discard(batch.producer)  # of a committed transaction it was not there
            return True
        return batch.transactional and batch.producer in self._aborting

    def _unreadable(self, raw: bytes, until: int, why: str) -> Iterator[ConsumerRecord]:
        first = self.next
        if until <= first:
            return  # what it held was told before
        self.next = until
        yield self._record(Item(first, None, None, raw, ()), Gap(first, until, until, why))

    def _record(self, item: Item, gap: Gap | None) -> ConsumerRecord:
        topic, partition = self._partition
        # `checksum`: the only field that goes through Faust and that nobody there reads.
        parts: tuple[Any, ...] = (item.key, item.value, gap, -1, -1, item.headers)
        return ConsumerRecord(topic, partition, item.offset, item.timestamp, 0, *parts)
