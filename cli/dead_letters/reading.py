"""Reads topics from a moment to their end, and stops there.

What they hold is read as the agents read it (docs/decisions/0017-nothing-in-a-log-ends-its-reader.md).
"""

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from callstream.contract.records import Gap, Record
from callstream.contract.records import TopicPartition as Partition
from callstream.runtime.kafka import client_options
from callstream.runtime.settings import Settings, variable
from cli.dead_letters.places import Place
from cli.errors import CommandError
from cli.reach import answers_within
from stream_app.kafka_fetch import Fetches
from stream_app.kafka_fetched import Limits

_AT_ONCE = 1  # records of a poll: each may be of another batch, which may inflate to many times its size
_LOOK = 200  # milliseconds; a partition that ends in a gap is noticed after one
_INFLATED = 2  # times the largest record: what a batch may inflate to


class Source:
    """The topics of a cluster; it gives up when the broker is silent for `patience` seconds."""

    def __init__(self, consumer: AIOKafkaConsumer, topics: dict[str, list[int]], patience: float) -> None:
        self._consumer = consumer
        self.topics = topics
        self._patience = patience

    async def scan(self, topics: Sequence[str], since: datetime | None = None) -> AsyncIterator[Record]:
        """Yield what is there at this moment, each partition in its order, from the first record of `since` on.

        What cannot be decoded is a record with a gap.

        Raises:
            CommandError: a topic is missing.
            TimeoutError: the broker does not answer any more.
        """
        if missing := [topic for topic in topics if topic not in self.topics]:
            text = f"missing topics, which `callstream topics` creates: {', '.join(missing)}"
            raise CommandError(text, exit_code=1)
        partitions = [TopicPartition(topic, number) for topic in topics for number in self.topics[topic]]
        ends = await self._consumer.end_offsets(partitions)
        starts = await self._starts(partitions, since)
        spans = {tp: range(starts[tp], ends[tp]) for tp in partitions if tp in starts and starts[tp] < ends[tp]}
        async for record in self._span(spans):
            yield record

    async def one(self, place: Place) -> Record | None:
        """Return the record at a place, or None if there is none (any more)."""
        spans = {TopicPartition(*place.partition): range(place.offset, place.offset + 1)}
        partitions = list(spans)
        first, end = await self._consumer.beginning_offsets(partitions), await self._consumer.end_offsets(partitions)
        if not all(first[tp] <= place.offset < end[tp] for tp in partitions):
            return None
        found = [record async for record in self._span(spans)]
        return found[0] if found else None

    async def _starts(self, partitions: list[TopicPartition], since: datetime | None) -> dict[TopicPartition, int]:
        moment = 0 if since is None else int(since.timestamp() * 1000)
        if moment <= 0:
            return dict(await self._consumer.beginning_offsets(partitions))
        found = await self._consumer.offsets_for_times(dict.fromkeys(partitions, moment))
        return {tp: at.offset for tp, at in found.items() if at is not None}

    async def _span(self, spans: dict[TopicPartition, range]) -> AsyncIterator[Record]:
        loop = asyncio.get_running_loop()
        self._consumer.assign(list(spans))
        for tp, span in spans.items():
            self._consumer.seek(tp, span.start)
        left = dict(spans)
        heard = loop.time()
        while left:
            batches = await self._consumer.getmany(*left, timeout_ms=_LOOK, max_records=_AT_ONCE)
            for tp, records in batches.items():
                for record in map(_record, records):
                    gone = record.gap is not None and record.gap.lost
                    if record.offset < spans[tp].stop and not gone:
                        yield record
            # The position, not the last record: it also passes what compaction and transactions leave of a log.
            reached = [tp for tp in batches or list(left) if await self._consumer.position(tp) >= spans[tp].stop]
            for tp in reached:
                del left[tp]
                self._consumer.pause(tp)
            if batches or reached:
                heard = loop.time()  # not before: whoever takes the records may be slow
            elif loop.time() - heard > self._patience:
                raise TimeoutError("it does not answer any more")


@asynccontextmanager
async def source_of(settings: Settings) -> AsyncIterator[Source]:
    """Connect for the length of the block.

    Raises:
        CommandError: the broker is away, or fails within the block.
    """
    options = client_options(settings, "dead-letters")
    bootstrap = settings.kafka.bootstrap
    if not await answers_within(0, **options):
        raise CommandError(f"no broker answers at {bootstrap} ({variable(('kafka', 'bootstrap'))})", exit_code=1)
    patience = settings.kafka.request_timeout.total_seconds()
    options |= {"request_timeout_ms": round(patience * 1000)}
    consumer = AIOKafkaConsumer(**options, enable_auto_commit=False, auto_offset_reset="earliest")
    try:
        topics = await _topics(options)
        await consumer.start()
        largest = settings.sizes.dead_letter
        limits = Limits(kept=largest, inflated=_INFLATED * largest)
        Fetches(consumer._fetcher, limits, moved={}).take_the_place()  # noqa: SLF001 - it has no door
        await asyncio.sleep(0)  # its tasks have to begin, or its stop() takes their end for ours
        yield Source(consumer, topics, patience)
    except (KafkaError, OSError, TimeoutError) as error:
        raise CommandError(f"the broker at {bootstrap} failed: {error!r}", exit_code=1) from error
    finally:
        await consumer.stop()


async def _topics(options: dict[str, object]) -> dict[str, list[int]]:
    """Return the numbers of each topic's partitions."""
    admin = AIOKafkaAdminClient(**options)
    try:
        await admin.start()
        found = await admin.describe_topics()
    finally:
        await admin.close()
    return {topic["topic"]: sorted(part["partition"] for part in topic["partitions"]) for topic in found}


def _record(record: ConsumerRecord) -> Record:
    partition = Partition(record.topic, record.partition)
    headers = tuple(record.headers)
    time = math.nan if record.timestamp is None else record.timestamp / 1000
    gap = record.checksum if isinstance(record.checksum, Gap) else None  # where kafka_fetched.py puts it
    return Record(partition, record.offset, record.key, record.value, headers, time, gap)
