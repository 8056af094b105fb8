"""Reads topics from a moment to their end, and stops there.

What they hold is read as the agents read it (docs/decisions/0017-nothing-in-a-log-ends-its-reader.md).
"""

import asyncio
import math
from collections.abc import AsyncIterator, Iterable, Sequence
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

_AT_ONCE = 1_000  # records of a poll, which ends at 8 MiB whatever this says
_LOOK = 200  # milliseconds; a partition that ends in a gap is noticed after one

Spans = dict[TopicPartition, range]  # offsets that are to be read


def spans_of(places: Iterable[Place]) -> Spans:
    """Return the least spans that hold these places."""
    spans: Spans = {}
    for (topic, number), offset in places:
        tp = TopicPartition(topic, number)
        known = spans.get(tp, range(offset, offset))
        spans[tp] = range(min(known.start, offset), max(known.stop, offset + 1))
    return spans


class Reading:
    """Reads spans bit by bit, each partition in its order; what cannot be decoded is a record with a gap.

    It gives up when the broker is silent for `patience` seconds.
    """

    def __init__(self, source: "Source", consumer: AIOKafkaConsumer, spans: Spans, patience: float) -> None:
        self._source = source
        self._consumer = consumer
        self._left = dict(spans)
        self._patience = patience

    def begin(self) -> None:
        """Go on where this reading was, and take the consumer if another has read with it since."""
        if self._source.latest is self:
            return  # what was fetched is to be read, and not fetched again
        self._source.latest = self
        self._consumer.assign(list(self._left))
        for tp, span in self._left.items():
            self._consumer.seek(tp, span.start)

    async def next(self, tp: TopicPartition, most: int) -> list[Record]:
        """Return the next records of a partition, `most` at most; none at the end of its span.

        Raises:
            TimeoutError: the broker does not answer any more.
        """
        loop = asyncio.get_running_loop()
        heard = loop.time()  # not before: whoever takes the records may be slow
        while (span := self._left.get(tp)) is not None:
            polled = (await self._consumer.getmany(tp, timeout_ms=_LOOK, max_records=most)).get(tp, [])
            # The position, not the last record: it also passes what compaction and transactions leave of a log.
            position = await self._consumer.position(tp)
            if position < span.stop:
                self._left[tp] = range(position, span.stop)
            else:
                del self._left[tp]
                self._consumer.pause(tp)
            if records := [record for record in map(_record, polled) if _within(record, span)]:
                return records
            if polled or position != span.start:
                heard = loop.time()
            elif loop.time() - heard > self._patience:
                raise TimeoutError("it does not answer any more")
        return []


class Source:
    """The topics of a cluster; a reading ends when the next one begins."""

    def __init__(self, consumer: AIOKafkaConsumer, topics: dict[str, list[int]], patience: float) -> None:
        self._consumer = consumer
        self.topics = topics
        self.latest: Reading | None = None  # to begin
        self._patience = patience

    async def spans(self, topics: Sequence[str], since: datetime | None = None) -> Spans:
        """Return where each partition is at this moment, from the first record of `since` on.

        Raises:
            CommandError: a topic is missing.
        """
        if missing := [topic for topic in topics if topic not in self.topics]:
            text = f"missing topics, which `callstream topics` creates: {', '.join(missing)}"
            raise CommandError(text, exit_code=1)
        partitions = [TopicPartition(topic, number) for topic in topics for number in self.topics[topic]]
        ends = await self._consumer.end_offsets(partitions)
        starts = await self._starts(partitions, since)
        return {tp: range(starts[tp], ends[tp]) for tp in partitions if tp in starts and starts[tp] < ends[tp]}

    def reading(self, spans: Spans) -> Reading:
        return Reading(self, self._consumer, spans, self._patience)

    async def read(self, spans: Spans) -> AsyncIterator[Record]:
        """Yield what is there, one partition after the other: of the others nothing is fetched meanwhile.

        Raises:
            TimeoutError: the broker does not answer any more.
        """
        for tp, span in spans.items():
            reading = self.reading({tp: span})
            reading.begin()
            while records := await reading.next(tp, _AT_ONCE):
                for record in records:
                    yield record

    async def one(self, place: Place) -> Record | None:
        """Return the record at a place, or None if there is none (any more)."""
        tp = TopicPartition(*place.partition)
        first, end = await self._consumer.beginning_offsets([tp]), await self._consumer.end_offsets([tp])
        if not first[tp] <= place.offset < end[tp]:
            return None
        found = [record async for record in self.read({tp: range(place.offset, place.offset + 1)})]
        return found[0] if found else None

    async def _starts(self, partitions: list[TopicPartition], since: datetime | None) -> dict[TopicPartition, int]:
        moment = 0 if since is None else int(since.timestamp() * 1000)
        if moment <= 0:
            return dict(await self._consumer.beginning_offsets(partitions))
        found = await self._consumer.offsets_for_times(dict.fromkeys(partitions, moment))
        return {tp: at.offset for tp, at in found.items() if at is not None}


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
        # Who reads several partitions in the order of time is done with one while others still have what was fetched.
        fetches = Fetches(consumer._fetcher, Limits.of(settings.sizes), moved={}, all_polled=0)  # noqa: SLF001 - no door
        fetches.take_the_place()
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


def _within(record: Record, span: range) -> bool:
    """Return whether a record is one to be told: of what the broker has no more, there is nothing to tell."""
    return record.offset < span.stop and not (record.gap is not None and record.gap.lost)
