"""A Kafka record as Callstream sees it: bytes, and where they stood."""

from typing import NamedTuple

Headers = tuple[tuple[str, bytes | None], ...]  # Kafka has null values, too


class TopicPartition(NamedTuple):
    topic: str
    partition: int


class Gap(NamedTuple):
    """Offsets that bring no records, those from `first` to before `until`; what is read goes on at `following`.

    `lost` are those that the broker has no more; what it has of the others cannot be decoded, and is the value of the
    record that has the gap. `anew` is a log that was cut off or made again: it is read again, from `following` on.
    """

    first: int
    until: int
    following: int
    why: str
    lost: bool = False
    anew: bool = False


class Record(NamedTuple):
    """A record that was read, or a gap in its place.

    `timestamp` is in seconds since the epoch, and no number where there is none; `value` is None for a tombstone.
    """

    partition: TopicPartition
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp: float
    gap: Gap | None = None

    @property
    def following(self) -> int:
        """The offset at which its partition goes on."""
        return self.offset + 1 if self.gap is None else self.gap.following


class OutgoingRecord(NamedTuple):
    """A record to be produced; the partitioner chooses the partition by `key`."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers
