"""A dead letter: the original record, untouched, with its origin and the reason in headers of its own.

What would not fit its topic is left out, the largest part first, and named in `dead_letter_cut`.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

from callstream.contract.header_fields import HeaderField, rules
from callstream.contract.records import OutgoingRecord, Record, TopicPartition
from callstream.contract.sizes import LARGEST, cut_bytes, size_of

_ERROR_LIMIT = 4_096  # bytes of error text kept
_CUTS = ("value", "headers", "key")  # in the order in which they are left out


class Reason(StrEnum):
    """Why a record went no further."""

    UNREADABLE = "unreadable"
    TOO_LARGE = "too-large"
    REFUSED = "refused"
    EXHAUSTED = "exhausted"
    EXPIRED = "expired"
    FORBIDDEN = "forbidden"
    CRASHED = "crashed the worker"
    DAMAGED = "damaged"  # it cannot be decoded
    LOST = "lost"  # the broker has it no more
    INTERNAL_ERROR = "internal-error"  # our own fault: the log has its traceback


_FIELDS = (
    HeaderField(
        "dead_letter_reason", "Why it went no further", "{reason}", rules(enum=[each.value for each in Reason])
    ),
    HeaderField("dead_letter_error", "The same for people, and in detail", "{error}"),
    HeaderField("dead_letter_topic", "The topic that the record stood in", "{topic}"),
    HeaderField("dead_letter_partition", "Its partition there", "3", rules(pattern="^[0-9]+$")),
    HeaderField("dead_letter_offset", "Its offset there", "42", rules(pattern="^[0-9]+$")),
    HeaderField(
        "dead_letter_cut",
        "What of the record was left out, as it was too large: value, headers, key; empty if it is whole",
        "",
        rules(pattern="^(value(,headers(,key)?)?)?$"),
    ),
)
_OURS = tuple(field.name for field in _FIELDS)


def dead_letter(record: Record, topic: str, reason: Reason, error: str, limit: int = 2 * LARGEST) -> OutgoingRecord:
    """Return what to produce to the dead-letter `topic`, at most `limit` bytes of it.

    Key, value and headers are as they came, ours behind them.
    """
    for cut, rest in enumerate(_smaller(record)):
        letter = _letter(rest, topic, reason, error, ",".join(_CUTS[:cut]))
        if size_of(letter) <= limit:
            break
    return letter


def _smaller(record: Record) -> Iterator[Record]:
    """Yield the record whole, and then with ever less of what _CUTS names."""
    yield record
    yield (rest := record._replace(value=None))
    yield (rest := rest._replace(headers=()))
    yield rest._replace(key=None)


def _letter(record: Record, topic: str, reason: Reason, error: str, cut: str) -> OutgoingRecord:
    origin = record.partition.topic, str(record.partition.partition), str(record.offset)
    values = (reason.encode(), cut_bytes(error, _ERROR_LIMIT), *(part.encode() for part in origin), cut.encode())
    return OutgoingRecord(topic, record.key, record.value, (*record.headers, *zip(_OURS, values, strict=True)))


def dead_letter_fields(reason: Reason, error: str, topic: str) -> tuple[HeaderField, ...]:
    """Describe the headers that `dead_letter` adds, with these in the example."""
    return tuple(
        field._replace(example=field.example.format(reason=reason, error=error, topic=topic)) for field in _FIELDS
    )


class DeadLetter(NamedTuple):
    """What a dead letter was made of; `original` stands where it came from, with the dead letter's timestamp.

    `reason` is a Reason, or what a later version may call one. `cut` names the parts of `original` that were left out.
    """

    original: Record
    reason: str
    error: str
    cut: str


def opened(letter: Record) -> DeadLetter | None:
    """Return what `dead_letter` put into this record, or None if it was written by something else."""
    head, ours = letter.headers[: -len(_OURS)], letter.headers[-len(_OURS) :]
    if tuple(name for name, _ in ours) != _OURS:  # only the last ones are ours: the original may have had some, too
        return None
    try:
        reason, error, topic, partition, offset, cut = ((value or b"").decode() for _, value in ours)
        place = TopicPartition(topic, int(partition))
        original = letter._replace(partition=place, offset=int(offset), headers=head)
    except ValueError:
        return None
    return DeadLetter(original, reason, error, cut)
