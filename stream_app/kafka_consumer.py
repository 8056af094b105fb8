"""Faust's consumer, which commits what the workload says and notes beside it how the partitions fare."""

import asyncio
import math
import re
import sys
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from aiokafka.structs import OffsetAndMetadata
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from callstream.contract.records import TopicPartition
from stream_app.kafka_thread import ConsumerThread, kafka_partition
from stream_app.suspects import Note, Place

if TYPE_CHECKING:
    from stream_app.kafka_app import KafkaApp

_TOPIC, _ID = " topic=", re.compile("[0-9a-f]{32}")  # what stands behind the note of a committed offset

IN_A_TURN = 10  # records that are handed over in one turn of the event loop; their tasks begin in the next


class _Left(NamedTuple):
    """How a partition was left: where, with what note, and which topic that is a place of (its id, where known)."""

    position: int
    note: Note
    topic: str

    @classmethod
    def read(cls, found: OffsetAndMetadata) -> "_Left":
        note, _, topic = found.metadata.rpartition(_TOPIC)
        return cls(found.offset, Note.read(note or found.metadata), topic if _ID.fullmatch(topic) else "")

    @staticmethod
    def written(note: str, topic: str) -> str:
        """Return the metadata of a commit."""
        return f"{note}{_TOPIC}{topic}" if topic else note


class Consumer(driver.Consumer):
    app: "KafkaApp"
    _thread: ConsumerThread

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._released = asyncio.Event()
        self._committing = asyncio.Lock()
        self._since = math.inf  # when the commit under way began
        self._found: dict[TP, int] = {}  # where each partition was to be begun, until it is given back
        self._saved: dict[TP, int] = {}  # what is committed of the partitions, as far as this process did it
        self._begun_again: set[TP] = set()  # of those that are moved, whose new beginning is not committed yet
        self._read_offset = _NoGuard()

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        if not self.app.should_stop:
            self._begun_again.clear()
            self._saved.clear()
            self.app.keep(assigned, generation_id)
            try:
                await self._take_over(assigned)
            except Exception as error:  # noqa: BLE001 - aiokafka would only log it, and wait for ever
                await self.crash(error)
                return
        await super().on_partitions_assigned(assigned, generation_id)

    async def _take_over(self, assigned: set[TP]) -> None:
        """Find out how the partitions were left, and commit that they are ours, before any record is read."""
        left = {TP(*tp): _Left.read(found) for tp, found in (await self._thread.committed(assigned)).items()}
        left |= self._kept(assigned, left)
        topics = await self._thread.topics(assigned)
        for tp, (position, _, topic) in left.items():
            if topic and tp.topic not in topics:
                self._thread.ids.setdefault(tp.topic, topic)  # a look at the topics will tell whether it is another now
            elif topic and topics[tp.topic] != topic:
                begin = await self._thread.log_made_anew(tp, position, topic)
                left[tp] = _Left(position if begin is None else begin, Note(), "")
        starts = await self._thread.edges("beginning", [tp for tp in assigned if tp not in left])
        left |= {TP(*tp): _Left(position, Note(), "") for tp, position in starts.items()}
        dead = [tp for tp, each in left.items() if self.app.suspects.left_by_the_dead(each.note)]
        ends = await self._thread.edges("end", dead)
        if self.app.should_stop:
            return  # they stay as they were left
        self._found = {tp: each.position for tp, each in left.items()}
        self.app.suspects.take_over(
            {
                TopicPartition(*tp): Place(each.note, each.position, ends.get(tp, sys.maxsize))
                for tp, each in left.items()
            }
        )
        await self._commit(self._found)

    def _kept(self, assigned: set[TP], left: Mapping[TP, _Left]) -> dict[TP, _Left]:
        """Return how those partitions were left of which this process alone knows of what topic they are.

        With a topic the brokers forget what was committed of it, and what is kept here may be of the one before.
        """
        kept = {}
        for partition, position in self.app.workload.positions().items():
            tp = TP(*partition)
            committed = left.get(tp)
            if tp in assigned and not (committed and committed.topic) and (topic := self._thread.ids.get(tp.topic)):
                kept[tp] = _Left(position, committed.note if committed else Note(), topic)
        return kept

    async def ping(self) -> None:
        """Return when the consumer's thread has answered."""
        await self._thread.ping()

    def end(self, partition: TopicPartition) -> int | None:
        """Return the offset at which the log was last seen to end; None where that is not known."""
        return self._thread.end(TP(*partition))

    async def give_back(self) -> None:
        """Commit how far every partition is, and that this process ends its work on them in good order."""
        self.app.suspects.give_back()
        await self.save()
        self._found = {}  # or a stop before the next assignment would commit them again

    @property
    def committing(self) -> float:
        """For how many seconds the commit under way has been so; 0 if none is."""
        return max(0.0, time.monotonic() - self._since)

    @property
    def missing(self) -> frozenset[str]:
        """The topics that are to be read and are not there."""
        return self._thread.missing

    async def save(self) -> bool:
        """Commit how far every partition is, moved or not; return whether that was possible.

        What the broker does not know any more is left out.
        """
        positions = {TP(*tp): offset for tp, offset in self.app.workload.positions().items()}
        return await self._commit(self._found | positions)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        suspects, moved = self.app.suspects, self._thread.moved
        async with self._committing:  # so that no older note overtakes a newer one
            noted = {}
            for tp, position in offsets.items():
                # Where a log was cut off, what it held before must not be committed any more.
                gap = moved.get(kafka_partition(tp))
                offset = position if gap is None else gap.following
                note = suspects.note(TopicPartition(*tp), offset)
                noted[tp] = OffsetAndMetadata(offset, _Left.written(note, self._thread.ids.get(tp.topic, "")))
            self._since = time.monotonic()
            try:
                committed = await self._thread.commit(noted)
            finally:
                self._since = math.inf
            if committed:
                done = {tp for tp in noted if kafka_partition(tp) not in self._thread.commits.unknown}
                self._saved |= {tp: offsets[tp] for tp in done}
                for tp in self._begun_again & done:
                    self._begun_again.remove(tp)
                    moved.pop(kafka_partition(tp), None)
            return committed

    def _filter_committable_offsets(self, tps: Iterable[TP]) -> dict[TP, int]:  # noqa: ARG002 - the windows know
        positions = ((TP(*partition), offset) for partition, offset in self.app.workload.positions().items())
        return {tp: offset for tp, offset in positions if self._should_commit(tp, offset)}

    def _should_commit(self, tp: TP, offset: int) -> bool:
        # Faust's own commits nothing that is lower, and nothing twice that did not come through.
        return self._saved.get(tp) != offset

    async def begun_again(self, partition: TopicPartition) -> None:
        """Commit at once that a partition is read from the beginning of its log, which the workload knows by now."""
        self._begun_again.add(TP(*partition))
        self.app.suspects.forget(partition)
        await self.save()

    async def _drain_messages(self, fetcher: Any) -> None:
        """Hand over what is polled, until `fetcher` stops.

        Faust's own takes four tasks and three turns of the event loop for each record: where turns are long, because
        fetches have much to do in each, it reads 60 records a second.
        """
        handed_over = 0
        try:
            while not (self.should_stop or fetcher.should_stop):
                await asyncio.sleep(0)
                async for _, message in self.getmany(timeout=1.0):
                    if self.app.takes_at_once:
                        await self.callback(message)
                    else:
                        await self.wait_first(self.callback(message), self.suspend_flow.wait())
                    handed_over += 1
                    if handed_over % IN_A_TURN == 0:
                        await asyncio.sleep(0)
        except asyncio.CancelledError:
            if not self.app.should_stop:
                raise
        except self.consumer_stopped_errors:
            if not self.app.should_stop:
                raise

    async def _wait_next_records(self, timeout: float) -> Any:  # noqa: ASYNC109 - Faust's own signature
        # Left alone, Faust sleeps for a second when every partition is held, and while it waits for the others it
        # does not notice that one was released.
        if self.flow_active and not self._get_active_partitions():
            self._released.clear()
            await self.wait(self._released.wait(), timeout=timeout)
        return await super()._wait_next_records(min(timeout, 0.1) if self._buffered_partitions else timeout)

    # `on_buffer_full` and not `pause_partitions`: that silently drops what was polled and not yet delivered. The client
    # must know as well, or it would fetch what nobody polls.

    def hold(self, partition: TopicPartition) -> None:
        self.on_buffer_full(TP(*partition))
        self._thread.fetch_no_more(TP(*partition))

    def release(self, partition: TopicPartition, again_from: int | None) -> None:
        self.on_buffer_drop(TP(*partition))
        self._thread.fetch_again(TP(*partition), again_from)
        self._released.set()


class _NoGuard(dict[TP, int | None]):
    """Where Faust would keep what it has read, to drop what is not above: a log that is made anew begins below.

    What comes twice, the workload knows.
    """

    def __missing__(self, _: TP) -> None:
        return None

    def __getitem__(self, _: TP) -> None:
        return None


class Transport(driver.Transport):
    Consumer = Consumer
