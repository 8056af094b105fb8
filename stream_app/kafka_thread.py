"""The thread in which Faust's consumer lives, and what is asked of the client there."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, cast

from aiokafka.errors import CommitFailedError, KafkaError
from aiokafka.structs import OffsetAndMetadata
from aiokafka.structs import TopicPartition as KafkaPartition
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from callstream.contract.records import Gap
from callstream.runtime.logs import get_logger
from stream_app.kafka_commits import Commits
from stream_app.kafka_fetch import Fetches
from stream_app.kafka_presence import Presence
from stream_app.kafka_topic_ids import topic_ids

if TYPE_CHECKING:
    from stream_app.kafka_app import KafkaApp

# An assignment must not wait for one partition without a leader: the group would take the process for dead.
_PATIENCE = 1_000  # milliseconds
_LOOK_AT_TOPICS = 5.0  # seconds between two looks at whether they are still the same

log = get_logger()


async def seek_to_begin(consumer: Any, committed: Mapping[KafkaPartition, int | None]) -> None:
    """Read partitions that are committed at offset 0 from there, and those that never were from where their logs begin.

    aiokafka seeks to no committed offset that is 0. What was polled of such a partition in a rebalance, and is dropped
    there to be read again, would never be read.
    """
    for partition, offset in committed.items():
        if offset or partition not in consumer.assignment():
            continue
        if offset is None:
            await consumer.seek_to_beginning(partition)
        else:
            consumer.seek(partition, 0)


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """Where Faust's consumer lives; Faust neither reads nor commits what may stand beside an offset."""

    fetches: Fetches
    commits: Commits
    _watch: asyncio.Task[None] | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.ids: dict[str, str] = {}  # of the topics that are read
        self.moved: dict[KafkaPartition, Gap] = {}  # partitions that are read again, until the workload knows

    @property
    def missing(self) -> frozenset[str]:
        """The topics that are to be read, and of which the client knows no partition."""
        if (subscription := self._subscription) is None:
            return frozenset()
        cluster = self._ensure_consumer()._client.cluster  # noqa: SLF001 - it has no door
        return frozenset(topic for topic in subscription.topics if not cluster.partitions_for_topic(topic))

    def end(self, tp: TP) -> int | None:
        """Return the offset at which the log ended in the last answer to a fetch of it; None if there was none."""
        assignment = None if self._subscription is None else self._subscription.assignment
        if assignment is None or (partition := kafka_partition(tp)) not in assignment.tps:
            return None
        return cast("int | None", assignment.state_value(partition).highwater)

    @property
    def _subscription(self) -> Any:
        """What aiokafka's consumer is subscribed to; None before there is one, or a subscription."""
        return None if self._consumer is None else self._consumer._subscription.subscription  # noqa: SLF001 - it has no door

    async def committed(self, partitions: Iterable[TP]) -> Mapping[TP, OffsetAndMetadata]:
        coordinator = self._ensure_consumer()._coordinator  # noqa: SLF001 - the consumer's own method gives offsets alone
        wanted = list(map(kafka_partition, partitions))
        return cast(
            "Mapping[TP, OffsetAndMetadata]", await self.call_thread(coordinator.fetch_committed_offsets, wanted)
        )

    async def seek_to_committed(self) -> Mapping[TP, int]:
        found = await super().seek_to_committed()
        await self.call_thread(seek_to_begin, self._ensure_consumer(), found)
        return {**found, **await self.call_thread(self.fetches.stay_moved)}

    async def edges(self, edge: Literal["beginning", "end"], partitions: Iterable[TP]) -> Mapping[TP, int]:
        """Return the offset at this edge of each partition; none if a leader does not answer soon."""
        fetcher = self._ensure_consumer()._fetcher  # noqa: SLF001 - the consumer's own method waits too long
        ask = {"beginning": fetcher.beginning_offsets, "end": fetcher.end_offsets}[edge]
        try:
            return cast(
                "Mapping[TP, int]", await self.call_thread(ask, list(map(kafka_partition, partitions)), _PATIENCE)
            )
        except KafkaError:
            return {}

    def fetch_no_more(self, tp: TP) -> None:
        """Let the client fetch nothing of a partition; what it has polled is not touched."""
        self._at(tp, lambda consumer, partition: consumer.pause(partition))

    def fetch_again(self, tp: TP, position: int | None) -> None:
        """Let the client fetch of a partition again, from `position` if that is given."""

        def go_on(consumer: Any, partition: Any) -> None:
            if position is not None:
                consumer.seek(partition, position)
            consumer.resume(partition)

        self._at(tp, go_on)

    def _at(self, tp: TP, do: Callable[[Any, Any], None]) -> None:
        def apply() -> None:
            consumer = self._ensure_consumer()
            if (partition := kafka_partition(tp)) in consumer.assignment():
                do(consumer, partition)

        self.thread_loop.call_soon_threadsafe(apply)

    def on_crash(self, msg: str, *fmt: Any, **kwargs: Any) -> None:
        """Say nothing: `crash` logs it, and Faust would print a stranger's text past the log."""

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
        consumer = self._ensure_consumer()
        self.commits = Commits(consumer)
        self.fetches = Fetches(consumer._fetcher, limits, self.moved)  # noqa: SLF001 - it has no door
        self.fetches.take_the_place()
        self._presence = Presence(consumer)
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
            except Exception as error:  # noqa: BLE001 - the next look may be luckier
                log.warning("topics.unknown", error=repr(error))

    async def topics(self, partitions: Iterable[TP]) -> Mapping[str, str]:
        """Return the ids of the partitions' topics, which are read from now on; none if no broker tells them soon."""
        client = self._ensure_consumer()._client  # noqa: SLF001 - it has no door
        wanted = {tp.topic for tp in partitions}
        # One that went and comes back is begun as any other, whatever it was before.
        self.ids = {topic: found for topic, found in self.ids.items() if topic in wanted}
        try:
            async with asyncio.timeout(_PATIENCE / 1000):
                found = await self.call_thread(topic_ids, client, wanted)
        except (KafkaError, TimeoutError):
            return {}
        self.ids.update(found)
        return cast("Mapping[str, str]", found)

    async def log_made_anew(self, tp: TP, position: int, topic: str) -> int | None:
        """Read a partition from its beginning, whose log was read to `position` when its topic had the id `topic`.

        Return where it begins, or None: it is tried again until that can be told.
        """
        assignment = self._subscription.assignment
        try:
            begin = await self.call_thread(self.fetches.begin_again, assignment, kafka_partition(tp), position)
        except KafkaError:
            begin = None
        if begin is None:
            self.ids[tp.topic] = topic
        return cast("int | None", begin)

    async def _look_at_topics(self) -> None:
        """Begin with what has come, begin again with what was made anew; the fetches find a log that is shorter now."""
        subscription = self._subscription
        if subscription is None or (assignment := subscription.assignment) is None:
            return
        client = self._ensure_consumer()._client  # noqa: SLF001 - likewise
        ids = await topic_ids(client, subscription.topics)
        if ids and subscription.topics - self.missing != ids.keys():
            client.force_metadata_update()  # by which the leader of the group learns what there is to share
        for topic in {partition.topic for partition in assignment.tps} & ids.keys():
            if self.ids.setdefault(topic, ids[topic]) != ids[topic]:
                partitions = [partition for partition in assignment.tps if partition.topic == topic]
                begun = [await self.fetches.begin_again(assignment, partition) for partition in partitions]
                if None not in begun:  # or else it has no leader yet, and the next look is soon
                    self.ids[topic] = ids[topic]

    async def _fetch_records(self, consumer: Any, active_partitions: set[TP], *args: Any, **options: Any) -> Any:
        # What is paused is polled too: the client lets go of what it had of it, and fetches it again later.
        return await super()._fetch_records(consumer, active_partitions | consumer.paused(), *args, **options)

    async def _commit(self, offsets: Mapping[TP, OffsetAndMetadata]) -> bool:
        assigned = self.assignment()
        ours = {kafka_partition(tp): offset for tp, offset in offsets.items() if tp in assigned}
        try:
            if ours and not await self.commits.commit(ours):
                return False
        except CommitFailedError:  # the group has rebalanced
            return False
        except Exception as error:  # noqa: BLE001 - whatever it is ends the process, as in Faust
            await self.crash(error)
            return False
        return len(ours) == len(offsets)


def kafka_partition(tp: TP) -> KafkaPartition:
    return KafkaPartition(*tp)
