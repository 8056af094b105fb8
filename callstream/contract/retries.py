"""How far the delivery of a result has come: headers that the dispatcher puts on a result that waits in a tier."""

from datetime import UTC, datetime
from typing import NamedTuple

from callstream.contract.header_fields import HeaderField, rules
from callstream.contract.headers import TIME_EXAMPLE, HeaderError
from callstream.contract.records import Headers, OutgoingRecord, Record
from callstream.contract.sizes import cut, cut_bytes

PROGRESS_FIELDS = (
    HeaderField("callback_attempts", "How many attempts were made", "2", rules(pattern="^[0-9]+$")),
    HeaderField("callback_waits", "How often it waited for its receiver since", "0", rules(pattern="^[0-9]+$")),
    HeaderField("callback_first_seen", "When its first attempt was due", TIME_EXAMPLE, rules(format="date-time")),
    HeaderField("callback_due", "When its next attempt is due", TIME_EXAMPLE, rules(format="date-time")),
    HeaderField("callback_last_error", "Why the last attempt failed", "the receiver answered 503"),
    HeaderField(
        "callback_parked",
        "When it was written to its tier, by the clock by which it is due",
        TIME_EXAMPLE,
        rules(format="date-time"),
        required=False,
    ),
)
DEADLINE_FIELD = HeaderField(
    "callback_deadline",
    "The time after which no callback is attempted, ISO 8601 with an offset from UTC",
    "2026-02-01T00:00:00+00:00",
    rules(format="date-time"),
    required=False,
)
_ATTEMPTS, _WAITS, _FIRST_SEEN, _DUE, _LAST_ERROR, _PARKED = (field.name for field in PROGRESS_FIELDS)
PROGRESS_HEADERS = frozenset(field.name for field in PROGRESS_FIELDS)
DEADLINE_HEADER = DEADLINE_FIELD.name
_ERROR_LIMIT = 1_024  # bytes
_TIME_LIMIT = 64  # characters
_MOST_COUNTED = 10**9  # attempts, and waits
_EARLIEST, _LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(3000, 1, 1, tzinfo=UTC)


class Progress(NamedTuple):
    """`attempts` were made; since the last one the result waited `waits` times for its receiver to be free.

    It was `parked` at that time, by the clock of who wrote `due`; None where it never was, or that is not known.
    """

    attempts: int
    waits: int
    first_seen: datetime
    due: datetime
    last_error: str
    parked: datetime | None = None


def progress_of(record: Record, now: datetime) -> Progress:
    """Return the record's progress; a result that never waited is due, and first seen, `now`.

    Raises:
        HeaderError: its headers are not as `parked` writes them.
    """
    found = {name: value for name, value in record.headers if name in PROGRESS_HEADERS}
    if not found:
        return Progress(0, 0, now, now, "")
    try:
        texts = {name: (value or b"").decode() for name, value in found.items()}
        return Progress(
            _count(texts[_ATTEMPTS]),
            _count(texts[_WAITS]),
            _time(texts[_FIRST_SEEN]),
            _time(texts[_DUE]),
            texts[_LAST_ERROR][:_ERROR_LIMIT],
            _time(texts[_PARKED]) if _PARKED in texts else None,
        )
    except (KeyError, ValueError, OverflowError) as error:
        # Not its repr, which has all bytes of a header that is no text, each as four characters.
        raise HeaderError(
            f"the headers of a waiting result cannot be read: {type(error).__name__}: {cut(str(error))}"
        ) from None


def _count(text: str) -> int:
    if not 0 <= (count := int(text)) <= _MOST_COUNTED:
        raise ValueError(f"{count} is not a count of attempts")
    return count


def _time(text: str) -> datetime:
    """Return a time that a delay can be added to."""
    if not _EARLIEST <= (time := _iso_time(text).astimezone(UTC)) < _LATEST:
        raise ValueError(f"{text} is out of range")
    return time


def _iso_time(text: str) -> datetime:
    if len(text) > _TIME_LIMIT:  # fractions of a second may have any number of digits
        raise ValueError(f"it has more than {_TIME_LIMIT} characters")
    return datetime.fromisoformat(text)


def parked(record: Record, topic: str, progress: Progress) -> OutgoingRecord:
    """Return what to produce to a tier's `topic`: the record as it is, with new progress."""
    ours: Headers = (
        (_ATTEMPTS, str(progress.attempts).encode()),
        (_WAITS, str(progress.waits).encode()),
        (_FIRST_SEEN, progress.first_seen.isoformat().encode()),
        (_DUE, progress.due.isoformat().encode()),
        (_LAST_ERROR, cut_bytes(progress.last_error, _ERROR_LIMIT)),
        *(() if progress.parked is None else ((_PARKED, progress.parked.isoformat().encode()),)),
    )
    return OutgoingRecord(topic, record.key, record.value, (*without_progress(record.headers), *ours))


def without_progress(headers: Headers) -> Headers:
    return tuple(header for header in headers if header[0] not in PROGRESS_HEADERS)


def deadline_of(headers: Headers) -> datetime | None:
    """Return the time after which a callback is not attempted any more, if the task brought one.

    Raises:
        HeaderError: the header is not one ISO 8601 time with an offset from UTC.
    """
    found = deadline_header(headers)
    if not found:
        return None
    try:
        ((_, value),) = found
        deadline = _iso_time((value or b"").decode())
        in_utc = deadline.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise HeaderError(f"the header {DEADLINE_HEADER} is not one ISO 8601 time: {error}") from error
    if deadline.tzinfo is None:
        raise HeaderError(f"the header {DEADLINE_HEADER} has no offset from UTC")
    return in_utc


def deadline_header(headers: Headers) -> Headers:
    """Return the header that `deadline_of` reads, to be passed on."""
    return tuple(header for header in headers if header[0] == DEADLINE_HEADER)
