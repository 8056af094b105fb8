"""A Kafka record as Callstream sees it: bytes, and where they stood."""

from typing import NamedTuple

Headers = tuple[tuple[str, bytes | None], ...]  # Kafka has null values, too


class TopicPartition(NamedTuple):
    topic: str
    partition: int


class Record(NamedTuple):
    """A record that was read; `timestamp` is in seconds since the epoch, `value` None for a tombstone."""

    partition: TopicPartition
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp: float


class OutgoingRecord(NamedTuple):
    """A record to be produced; the partitioner chooses the partition by `key`."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers
