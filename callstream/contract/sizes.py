"""The arithmetic of sizes: what may come in, and so what each topic must take, in bytes.

A record grows on its way: a request becomes a result, a result in a tier has more headers, and a dead letter says why
it is one. Each step has a bound here, so that whatever may have to be written fits: request < result < tier < dead
letter.
"""

from typing import NamedTuple

from callstream.contract.records import OutgoingRecord, Record

TEXT_LIMIT = 1_000  # characters kept of a text of foreign origin: an error, a detail, what a receiver answered

# Upper bounds of what we add to a record; the property tests hold them against what is really written.
EVENT_HEADERS = 4 * 1024  # CloudEvents' headers, the key, and what is passed on: trace context, deadline
PROGRESS_HEADERS = 2 * 1024  # of a result that waits in a tier
LETTER_HEADERS = 8 * 1024  # of a dead letter
ENVELOPE = 4 * 1024  # of a result around its entries: callback_url, ids, times
SHORT_ENTRY = 64  # of the short result, which says of each item that the whole was too large, beside the item's name
ATTEMPT = 16 * 1024  # a record of `callback.attempts`

# A broker takes a produce request of 100 MiB (`socket.request.max.bytes`), and a dead letter may be twice a record.
LARGEST = 48 * 2**20

_BATCH = 61  # the head of a record batch, https://kafka.apache.org/documentation/#recordbatch
_OBJECT, _HEADER_OBJECTS = 500, 250  # bytes of what Python keeps of a record, and of each header, beside the bytes
_ATTRIBUTES = 3  # attributes, and the differences in time and offset from the batch's, which are 0


class Sizes(NamedTuple):
    """The largest record of each kind of topic, headers and all, as `max.message.bytes` counts it."""

    record: int

    @property
    def request(self) -> int:
        return self.record

    @property
    def result(self) -> int:
        return self.record

    @property
    def tier(self) -> int:
        return self.record + PROGRESS_HEADERS

    @property
    def attempt(self) -> int:
        return self.record

    @property
    def dead_letter(self) -> int:
        """A dead letter waits for a person: there is room for what came compressed and was larger than it seemed."""
        return 2 * self.record

    @property
    def batch(self) -> int:
        """The most bytes of several records in one batch, which a topic judges as it does one record.

        aiokafka wakes everyone who waits for a full batch at once; with its default of 16 KiB a backlog costs twice as
        much.
        """
        return min(2**18, self.record)


def least_record(body: int, items: int) -> int:
    """Return the least `Sizes.record` for request bodies of so many bytes and items: the short result has to fit."""
    return max(body + items * SHORT_ENTRY + ENVELOPE + EVENT_HEADERS, ATTEMPT, PROGRESS_HEADERS + LETTER_HEADERS)


def size_of(record: Record | OutgoingRecord) -> int:
    """Return the bytes of the record alone in a batch that is not compressed, as the broker counts them.

    https://kafka.apache.org/documentation/#record
    """
    fields = _ATTRIBUTES + _prefixed(record.key) + _prefixed(record.value) + _length(len(record.headers))
    for name, value in record.headers:
        fields += _prefixed(name.encode("utf-8", "replace")) + _prefixed(value)
    return _BATCH + _length(fields) + fields


def memory_of(record: Record) -> int:
    """Return about how many bytes of memory the record takes, of which its headers may take many times their size."""
    held = len(record.key or b"") + len(record.value or b"") + _OBJECT + _HEADER_OBJECTS * len(record.headers)
    for name, value in record.headers:
        held += (len(name) if name.isascii() else 4 * len(name)) + len(value or b"")
    return held


def _prefixed(data: bytes | None) -> int:
    return 1 if data is None else _length(len(data)) + len(data)


def _length(number: int) -> int:
    """Return the bytes of a length, written as a zigzag varint."""
    return 1 if number < 2**6 else 2 if number < 2**13 else 3 if number < 2**20 else 4 if number < 2**27 else 5


def cut(text: str, limit: int = TEXT_LIMIT) -> str:
    """Return `text`, or as much of it as is kept, with a sign that there was more; it can be written as UTF-8."""
    kept = text if len(text) <= limit else f"{text[: limit - 1]}…"
    return kept.encode("utf-8", "backslashreplace").decode()[:limit] if not kept.isascii() else kept


def cut_bytes(text: str, limit: int) -> bytes:
    """Return the text as UTF-8 of at most `limit` bytes, cut between two characters."""
    return text[:limit].encode("utf-8", "replace")[:limit].decode("utf-8", "ignore").encode()
