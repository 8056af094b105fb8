"""A dead letter: the original record, untouched, with its origin and the reason in headers of its own."""

from enum import StrEnum

from callstream.contract.records import OutgoingRecord, Record

_ERROR_LIMIT = 4_096  # bytes of error text kept


class Reason(StrEnum):
    """Why a record went no further."""

    UNREADABLE = "unreadable"
    TOO_LARGE = "too-large"
    REFUSED = "refused"
    EXHAUSTED = "exhausted"


def dead_letter(record: Record, topic: str, reason: Reason, error: str) -> OutgoingRecord:
    """Return what to produce to the dead-letter `topic`: key, value and headers as they came, ours behind them."""
    origin_topic, origin_partition = record.partition
    ours = {
        "dead_letter_reason": reason.encode(),
        "dead_letter_error": _bounded(error),
        "dead_letter_topic": origin_topic.encode(),
        "dead_letter_partition": str(origin_partition).encode(),
        "dead_letter_offset": str(record.offset).encode(),
    }
    return OutgoingRecord(topic, record.key, record.value, (*record.headers, *ours.items()))


def _bounded(error: str) -> bytes:
    """Return the text as UTF-8 of bounded length, cut between two characters."""
    return error.encode("utf-8", "replace")[:_ERROR_LIMIT].decode("utf-8", "ignore").encode()
