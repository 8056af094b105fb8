"""Stands in for the broker from which dead letters are read: a consumer of ours, whose logs the test writes."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, NamedTuple

import pytest
from aiokafka import TopicPartition

from callstream.contract.records import Headers, Record
from cli.dead_letters.reading import Source
from tests.unit.cli.dead_letters.letters import THERE, TOPICS

PARTITIONS = 3


class Found(NamedTuple):
    """A record as aiokafka gives it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None = None
    value: bytes | None = b""
    headers: Headers = ()
    timestamp: int = 1_000
    checksum: None = None


class Logs:
    """A consumer: of each partition it knows how long its log is, and makes the records when they are polled."""

    def __init__(self, lengths: dict[TopicPartition, int], make: Callable[[TopicPartition, int], Found]) -> None:
        self.lengths = lengths
        self._make = make
        self._positions: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self.on_poll: Callable[[], None] = lambda: None
        self.assigned = 0  # how often; what was fetched is then to be fetched again

    async def beginning_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 0)

    async def end_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return {tp: self.lengths.get(tp, 0) for tp in partitions}

    async def offsets_for_times(self, moments: dict[TopicPartition, int]) -> dict[TopicPartition, Found | None]:
        return {tp: self._first(tp, moment) for tp, moment in moments.items()}

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        self.assigned += 1
        self._positions = dict.fromkeys(partitions, 0)
        self._paused.clear()

    def seek(self, tp: TopicPartition, offset: int) -> None:
        assert tp in self._positions
        self._positions[tp] = offset

    def pause(self, tp: TopicPartition) -> None:
        self._paused.add(tp)

    async def position(self, tp: TopicPartition) -> int:
        return self._positions[tp]

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int, max_records: int
    ) -> dict[TopicPartition, list[Found]]:
        assert timeout_ms > 0
        self.on_poll()
        for tp in partitions:
            assert tp not in self._paused
            start = self._positions[tp]
            if records := [self._make(tp, at) for at in range(start, min(start + max_records, self.lengths[tp]))]:
                self._positions[tp] = start + len(records)
                return {tp: records}
        return {}

    def _first(self, tp: TopicPartition, moment: int) -> Found | None:
        records = (self._make(tp, offset) for offset in range(self.lengths.get(tp, 0)))
        return next((record for record in records if record.timestamp >= moment), None)


class Stored(Logs):
    """Logs of records that are there, and that others are added to."""

    def __init__(self, *records: Record) -> None:
        self._records: defaultdict[TopicPartition, list[Found]] = defaultdict(list)
        super().__init__({}, lambda tp, offset: self._records[tp][offset])
        for record in records:
            self.add(record)

    def add(self, record: Record) -> None:
        """Store a record at the end of its partition, wherever it says that it stood."""
        tp = TopicPartition(*record.partition)
        log, time = self._records[tp], round(record.timestamp * 1000)
        log.append(Found(tp.topic, tp.partition, len(log), record.key, record.value, record.headers, time))
        self.lengths[tp] = len(log)


def source(logs: Logs) -> Source:
    return Source(logs, {topic: list(range(PARTITIONS)) for topic in THERE}, patience=5)


def connect(monkeypatch: pytest.MonkeyPatch, module: object, logs: Logs) -> None:
    """Let a command read from these logs."""

    @asynccontextmanager
    async def source_of(_: object) -> Any:
        yield source(logs)

    monkeypatch.setattr(module, "source_of", source_of)


def tiny(count: int, at: datetime) -> Logs:
    """Return dead-letter topics that hold `count` records of one byte, none of which is a letter of ours."""
    topic, time = TOPICS.task_dead_letters, round(at.timestamp() * 1000)
    lengths = {TopicPartition(topic, number): count // PARTITIONS for number in range(PARTITIONS)}
    return Logs(lengths, lambda tp, offset: Found(tp.topic, tp.partition, offset, value=b"x", timestamp=time + offset))
