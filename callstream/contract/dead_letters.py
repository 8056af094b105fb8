"""A dead letter: the original record, untouched, with its origin and the reason in headers of its own."""

from enum import StrEnum
from typing import NamedTuple

from callstream.contract.header_fields import HeaderField, rules
from callstream.contract.records import OutgoingRecord, Record, TopicPartition

_ERROR_LIMIT = 4_096  # bytes of error text kept


class Reason(StrEnum):
    """Why a record went no further."""

    UNREADABLE = "unreadable"
    TOO_LARGE = "too-large"
    REFUSED = "refused"
    EXHAUSTED = "exhausted"
    EXPIRED = "expired"
    FORBIDDEN = "forbidden"
    CRASHED = "crashed the worker"


_FIELDS = (
    HeaderField(
        "dead_letter_reason", "Why it went no further", "{reason}", rules(enum=[each.value for each in Reason])
    ),
    HeaderField("dead_letter_error", "The same for people, and in detail", "{error}"),
    HeaderField("dead_letter_topic", "The topic that the record stood in", "{topic}"),
    HeaderField("dead_letter_partition", "Its partition there", "3", rules(pattern="^[0-9]+$")),
    HeaderField("dead_letter_offset", "Its offset there", "42", rules(pattern="^[0-9]+$")),
)
_OURS = tuple(field.name for field in _FIELDS)


def dead_letter(record: Record, topic: str, reason: Reason, error: str) -> OutgoingRecord:
    """Return what to produce to the dead-letter `topic`: key, value and headers as they came, ours behind them."""
    origin_topic, origin_partition = record.partition
    origin = (origin_topic.encode(), str(origin_partition).encode(), str(record.offset).encode())
    ours = zip(_OURS, (reason.encode(), _bounded(error), *origin), strict=True)
    return OutgoingRecord(topic, record.key, record.value, (*record.headers, *ours))


def dead_letter_fields(reason: Reason, error: str, topic: str) -> tuple[HeaderField, ...]:
    """Describe the headers that `dead_letter` adds, with these in the example."""
    return tuple(
        field._replace(example=field.example.format(reason=reason, error=error, topic=topic)) for field in _FIELDS
    )


class DeadLetter(NamedTuple):
    """What a dead letter was made of; `original` stands where it came from, with the dead letter's timestamp.

    `reason` is a Reason, or what a later version may call one.
    """

    original: Record
    reason: str
    error: str


def opened(letter: Record) -> DeadLetter | None:
    """Return what `dead_letter` put into this record, or None if it was written by something else."""
    head, ours = letter.headers[: -len(_OURS)], letter.headers[-len(_OURS) :]
    if tuple(name for name, _ in ours) != _OURS:  # only the last ones are ours: the original may have had some, too
        return None
    try:
        reason, error, topic, partition, offset = ((value or b"").decode() for _, value in ours)
        place = TopicPartition(topic, int(partition))
        original = letter._replace(partition=place, offset=int(offset), headers=head)
    except ValueError:
        return None
    return DeadLetter(original, reason, error)


def _bounded(error: str) -> bytes:
    """Return the text as UTF-8 of bounded length, cut between two characters."""
    return error.encode("utf-8", "replace")[:_ERROR_LIMIT].decode("utf-8", "ignore").encode()
