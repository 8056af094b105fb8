"""What is ready of the partitions, to be polled, and whose batches are inflated.

A few kilobytes in the log unfold to megabytes, so that not all that is begun can stay inflated. To inflate it for each
slice that is polled would take a thousand times as long as all of its records.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, cast

from aiokafka.consumer.fetcher import FetchResult
from aiokafka.structs import ConsumerRecord
from aiokafka.structs import TopicPartition as Partition

from callstream.contract.records import Record
from callstream.contract.sizes import memory_of
from stream_app.kafka_fetched import Fetched

_HELD = 2  # batches of the largest size: what is begun and not ended keeps so much inflated
_TURN = 8  # so much of a batch of the largest size is polled before another one is inflated in its place, and
_SMALL = 32  # what is so much smaller is inflated whenever some of it is polled, and never waits


class Ready(FetchResult):  # type: ignore[misc]  # aiokafka has no types
    """What is ready of one partition, and still to be polled."""

    _partition_records: Fetched | None
    waiting = 0  # bytes that its batch takes inflated, where that waits for its turn
    served = 0  # bytes, as they are in memory, that were polled in this turn

    def part(self, most: int, room: int) -> tuple[list[ConsumerRecord], int]:
        """Return up to `most` records, and their bytes; none is begun behind `room` bytes."""
        taken: list[ConsumerRecord] = []
        size = 0
        if self._partition_records is None or not self.check_assignment(self._topic_partition):
            return taken, size  # it is paused, not ours, or was moved
        while len(taken) < most and size < room:
            if (record := next(self._partition_records, None)) is None:
                self._update_position()
                self._partition_records = None
                return taken, size
            taken.append(record)
            size += memory_of(cast("Record", record))  # it has the same fields
        self._update_position()
        self.served += size
        return taken, size

    @property
    def inflated(self) -> int:
        return 0 if self._partition_records is None else self._partition_records.inflated

    def deflate(self, small: int) -> None:
        """Keep nothing inflated; a batch that takes more than `small` bytes waits for its next turn."""
        self.waiting, self.served = (self.inflated if self.inflated > small else 0), 0
        if self._partition_records is not None:
            self._partition_records.deflate()


class Turns:
    """Lets the batches of some of the partitions in `ready` be inflated at a time, those behind them next.

    The last to be served stands behind the others there. `largest` is what a batch may inflate to, in bytes.
    """

    def __init__(self, ready: Mapping[Partition, Any], largest: int) -> None:
        self._ready = ready
        self._budget = _HELD * largest
        self._turn = largest // _TURN
        self._small = largest // _SMALL

    def waits(self, partition: Partition, polled: Collection[Partition]) -> bool:
        """Return whether others have to be polled first. Those that are not `polled` now give way."""
        ready: Ready = self._ready[partition]
        if not ready.waiting:
            return False
        if any(each.waiting for each in self._before(ready, polled)):
            return True
        for name, each in self._all():
            if not self._over(ready.waiting):
                break
            if each.inflated and name not in polled:
                each.deflate(self._small)
        return self._over(ready.waiting)

    def slice(self, partition: Partition, most: int, room: int) -> tuple[list[ConsumerRecord], int]:
        """Take what `Ready.part` gives, and let go of what it has inflated unless it is still its turn."""
        ready: Ready = self._ready[partition]
        begins = not ready.inflated and not ready.waiting  # nobody could tell what it takes
        ready.waiting = 0
        taken = ready.part(most, room)
        over = begins or ready.served >= self._turn
        if ready.inflated and (self._over(0) or (over and any(each.waiting for _, each in self._all()))):
            ready.deflate(self._small)
        return taken

    def _over(self, more: int) -> bool:
        inflated = sum(each.inflated for each in self._ready.values() if isinstance(each, Ready))
        return inflated > 0 and inflated + more > self._budget

    def _before(self, ready: Ready, polled: Collection[Partition]) -> Iterator[Ready]:
        for name, each in self._all():
            if each is ready:
                return
            if name in polled:
                yield each

    def _all(self) -> list[tuple[Partition, Ready]]:
        return [(name, each) for name, each in self._ready.items() if isinstance(each, Ready)]
