"""Faust's consumer, which commits what the workload says and notes beside it how the partitions fare."""

import asyncio
import re
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

from aiokafka.errors import CommitFailedError, KafkaError
from aiokafka.structs import OffsetAndMetadata
from aiokafka.structs import TopicPartition as KafkaPartition
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from callstream.contract.records import TopicPartition
from callstream.runtime.logs import get_logger
from stream_app.kafka_fetch import Fetches
from stream_app.kafka_topic_ids import topic_ids
from stream_app.suspects import Note, Place

if TYPE_CHECKING:
    from stream_app.kafka_app import KafkaApp

# An assignment must not wait for one partition without a leader: the group would take the process for dead.
_PATIENCE = 1_000  # milliseconds
_TOPIC, _ID = " topic=", re.compile("[0-9a-f]{32}")  # what stands behind the note of a committed offset
_LOOK_AT_TOPICS = 5.0  # seconds between two looks at whether they are still the same

log = get_logger()


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


class _Thread(driver.AIOKafkaConsumerThread):
    """Where Faust's consumer lives; Faust neither reads nor commits what may stand beside an offset."""

    fetches: Fetches
    _watch: asyncio.Task[None] | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.ids: dict[str, str] = {}  # of the topics that are read

    async def committed(self, partitions: Iterable[TP]) -> Mapping[TP, OffsetAndMetadata]:
        coordinator = self._ensure_consumer()._coordinator  # noqa: SLF001 - the consumer's own method gives offsets alone
        wanted = list(map(_kafka, partitions))
        return cast(
            "Mapping[TP, OffsetAndMetadata]", await self.call_thread(coordinator.fetch_committed_offsets, wanted)
        )

    async def seek_to_committed(self) -> Mapping[TP, int]:
        found = await super().seek_to_committed()
        return {**found, **await self.call_thread(self.fetches.stay_moved)}

    async def edges(self, edge: Literal["beginning", "end"], partitions: Iterable[TP]) -> Mapping[TP, int]:
        """Return the offset at this edge of each partition; none if a leader does not answer soon."""
        fetcher = self._ensure_consumer()._fetcher  # noqa: SLF001 - the consumer's own method waits too long
        ask = {"beginning": fetcher.beginning_offsets, "end": fetcher.end_offsets}[edge]
        try:
            return cast("Mapping[TP, int]", await self.call_thread(ask, list(map(_kafka, partitions)), _PATIENCE))
        except KafkaError:
            return {}

    def fetch_no_more(self, tp: TP, *, paused: bool) -> None:
        """Let the client fetch nothing of a partition, or something again; what it has polled is not touched."""

        def apply() -> None:
            consumer = self._ensure_consumer()
            if (partition := _kafka(tp)) in consumer.assignment():
                (consumer.pause if paused else consumer.resume)(partition)

        self.thread_loop.call_soon_threadsafe(apply)

    async def ping(self) -> None:
        if not self.thread_loop.is_running():
            return  # it begins, or ends
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(asyncio.sleep(0), self.thread_loop))

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"  # noqa: SLF001 - Faust offers it with transactions only
        return consumer

    async def on_start(self) -> None:
        await super().on_start()
        limits = cast("KafkaApp", self.app).fetch_limits
        self.fetches = Fetches(self._ensure_consumer()._fetcher, limits)  # noqa: SLF001 - it has no door
        self.fetches.take_the_place()
        self._watch = asyncio.create_task(self._watch_topics())

    async def on_thread_stop(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        await super().on_thread_stop()

    async def _watch_topics(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_AT_TOPICS)
            try:
                await self._look_at_topics()
            except KafkaError as error:
                log.info("topics.unknown", error=repr(error))

    async def topics(self, partitions: Iterable[TP]) -> Mapping[str, str]:
        """Return the ids of the partitions' topics, which are read from now on; none if no broker tells them soon."""
        client = self._ensure_consumer()._client  # noqa: SLF001 - it has no door
        try:
            async with asyncio.timeout(_PATIENCE / 1000):
                found = await self.call_thread(topic_ids, client, {tp.topic for tp in partitions})
        except (KafkaError, TimeoutError):
            return {}
        self.ids.update(found)
        return cast("Mapping[str, str]", found)

    async def log_made_anew(self, tp: TP, position: int, topic: str) -> int | None:
        """Read a partition from its beginning, whose log was read to `position` when its topic had the id `topic`.

        Return where it begins, or None: it is tried again until that can be told.
        """
        assignment = self._ensure_consumer()._subscription.subscription.assignment  # noqa: SLF001 - likewise
        try:
            begin = await self.call_thread(self.fetches.begin_again, assignment, _kafka(tp), position)
        except KafkaError:
            begin = None
        if begin is None:
            self.ids[tp.topic] = topic
        return cast("int | None", begin)

    async def _look_at_topics(self) -> None:
        """Begin again with what has been made anew; a log that is shorter now the fetches find by themselves."""
        consumer = self._ensure_consumer()
        subscription = consumer._subscription.subscription  # noqa: SLF001 - likewise
        if subscription is None or (assignment := subscription.assignment) is None:
            return
        topics = {partition.topic for partition in assignment.tps}
        for topic, found in (await topic_ids(consumer._client, topics)).items():  # noqa: SLF001 - likewise
            if self.ids.setdefault(topic, found) != found:
                partitions = [partition for partition in assignment.tps if partition.topic == topic]
                begun = [await self.fetches.begin_again(assignment, partition) for partition in partitions]
                if None not in begun:  # or else it has no leader yet, and the next look is soon
                    self.ids[topic] = found

    async def _fetch_records(self, consumer: Any, active_partitions: set[TP], *args: Any, **options: Any) -> Any:
        # What is paused is polled too: the client lets go of what it had of it, and fetches it again later.
        return await super()._fetch_records(consumer, active_partitions | consumer.paused(), *args, **options)

    async def _commit(self, offsets: Mapping[TP, OffsetAndMetadata]) -> bool:
        assigned = self.assignment()
        ours = {_kafka(tp): offset for tp, offset in offsets.items() if tp in assigned}
        try:
            if ours:
                await self._ensure_consumer().commit(ours)
        except CommitFailedError:  # the group has rebalanced
            return False
        except Exception as error:  # noqa: BLE001 - whatever it is ends the process, as in Faust
            await self.crash(error)
            return False
        return len(ours) == len(offsets)


class Consumer(driver.Consumer):
    app: "KafkaApp"
    _thread: _Thread

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._released = asyncio.Event()
        self._committing = asyncio.Lock()
        self._found: dict[TP, int] = {}  # where each partition was to be begun, until it is given back
        self._read_offset = _NoGuard()

    def _new_consumer_thread(self) -> _Thread:
        return _Thread(self, loop=self.loop, beacon=self.beacon)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        if not self.app.should_stop:
            self.app.keep(assigned, generation_id)
            try:
                await self._take_over(assigned)
            except Exception as error:  # noqa: BLE001 - aiokafka would only log it, and wait for ever
                await self.crash(error)
                return
        await super().on_partitions_assigned(assigned, generation_id)

    async def _take_over(self, assigned: set[TP]) -> None:
        """Find out how the partitions were left, and commit that they are ours, before any record is read."""
        committed = {TP(*tp): _Left.read(found) for tp, found in (await self._thread.committed(assigned)).items()}
        topics = await self._thread.topics(assigned)
        starts = await self._thread.edges("beginning", [tp for tp in assigned if tp not in committed])
        self._found = {TP(*tp): offset for tp, offset in starts.items()}
        self._found |= {tp: left.position for tp, left in committed.items()}
        for tp, left in committed.items():
            if left.topic and topics.get(tp.topic, left.topic) != left.topic:
                begin = await self._thread.log_made_anew(tp, left.position, left.topic)
                committed[tp] = _Left(left.position if begin is None else begin, Note(), "")
                self._found[tp] = committed[tp].position
        await self._inherit({tp: left.note for tp, left in committed.items()})
        await self._commit(self._found)

    async def _inherit(self, notes: Mapping[TP, Note]) -> None:
        suspects = self.app.suspects
        ends = await self._thread.edges("end", [tp for tp, note in notes.items() if suspects.left_by_the_dead(note)])
        suspects.take_over(
            {
                TopicPartition(*tp): Place(notes.get(tp, Note()), position, ends.get(tp, sys.maxsize))
                for tp, position in self._found.items()
            }
        )

    async def ping(self) -> None:
        """Return when the consumer's thread has answered."""
        await self._thread.ping()

    async def give_back(self) -> None:
        """Commit how far every partition is, and that this process ends its work on them in good order."""
        self.app.suspects.give_back()
        await self.save()
        self._found = {}  # or a stop before the next assignment would commit them again

    async def save(self) -> bool:
        """Commit how far every partition is, moved or not; return whether that was possible."""
        positions = {TP(*tp): offset for tp, offset in self.app.workload.positions().items()}
        return await self._commit(self._found | positions)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        suspects, moved = self.app.suspects, self._thread.fetches.moved
        async with self._committing:  # so that no older note overtakes a newer one
            noted = {}
            for tp, position in offsets.items():
                # Where a log was cut off, what it held before must not be committed any more.
                gap = moved.get(_kafka(tp))
                offset = position if gap is None else gap.following
                note = suspects.note(TopicPartition(*tp), offset)
                noted[tp] = OffsetAndMetadata(offset, _Left.written(note, self._thread.ids.get(tp.topic, "")))
            return await self._thread.commit(noted)

    def _filter_committable_offsets(self, tps: Iterable[TP]) -> dict[TP, int]:  # noqa: ARG002 - the windows know
        positions = ((TP(*partition), offset) for partition, offset in self.app.workload.positions().items())
        return {tp: offset for tp, offset in positions if self._should_commit(tp, offset)}

    def _should_commit(self, tp: TP, offset: int) -> bool:
        return self._committed_offset[tp] != offset  # Faust's own commits nothing that is lower

    async def begun_again(self, partition: TopicPartition) -> None:
        """Commit at once that a partition is read from the beginning of its log, which the workload knows by now."""
        self._thread.fetches.moved.pop(KafkaPartition(*partition), None)
        self.app.suspects.forget(partition)
        await self.save()

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
        self._thread.fetch_no_more(TP(*partition), paused=True)

    def release(self, partition: TopicPartition) -> None:
        self.on_buffer_drop(TP(*partition))
        self._thread.fetch_no_more(TP(*partition), paused=False)
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


def _kafka(tp: TP) -> KafkaPartition:
    return KafkaPartition(*tp)
