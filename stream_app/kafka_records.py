"""The records of one batch, read so that what is damaged takes nothing with it that can be read.

The formats are those of Kafka's documentation: magic 2, and 0 and 1 of logs from before Kafka 0.11. aiokafka's own
readers are used where nothing speaks against it; they raise at the first thing that they do not like.
"""

import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.legacy_records import LegacyRecordBatch
from aiokafka.record.util import decode_varint

from callstream.contract.records import Headers
from stream_app.inflate import inflate
from stream_app.kafka_marks import Marks, Spot, frames

PADDING = bytes(64)  # to stand behind what is read: aiokafka's reader looks a few bytes beyond the end of damaged bytes
LEAST = 17  # bytes that have an offset, a length and a magic
_OVERHEAD = 12  # bytes before those that `length` counts
_HEADER = struct.Struct(">qiibIhiqqqhii")
_LEGACY_MAGICS = {0: 18, 1: 26}  # and how long the head of a message is, up to its key
_CODEC, _LOG_APPEND_TIME, _TRANSACTIONAL, _CONTROL = 0x07, 0x08, 0x10, 0x20
_ATTRIBUTES_AT = 21
# Where there is more, the slower reader is used, which bounds what a record may unfold to.
_SMALL = 2**19  # bytes
MOST_HEADERS = 1_000  # a record; each takes up to a hundred times the memory that it has in the log
MOST_RECORDS = 200_000  # a batch; going over more would take the thread that sends heartbeats for too long
_COUNT_AT = 57


class DamagedError(Exception):
    """These bytes cannot be read as what they should be."""


class Item(NamedTuple):
    """A record of a batch; `timestamp` is in milliseconds, None where there is none."""

    offset: int
    timestamp: int | None
    key: bytes | None
    value: bytes | None
    headers: Headers


class Batch(NamedTuple):
    """The head of a batch, and the bytes from `start` to `end` of `data` where it stands, with PADDING behind."""

    data: bytes
    start: int
    end: int
    magic: int
    attributes: int
    base: int
    following: int
    producer: int

    @classmethod
    def at(cls, data: bytes, start: int, end: int) -> "Batch":
        """Read the head.

        Raises:
            DamagedError: there are too few bytes for one.
        """
        magic = data[start + LEAST - 1]
        if magic in _LEGACY_MAGICS:
            (offset,) = struct.unpack_from(">q", data, start)
            return cls(data, start, end, magic, data[start + LEAST], offset, offset + 1, -1)
        if end - start < _HEADER.size:
            raise DamagedError("it is too short for a batch")
        base, _, _, magic, _, attributes, last, _, _, producer, _, _, _ = _HEADER.unpack_from(data, start)
        return cls(data, start, end, magic, attributes, base, base + last + 1, producer)

    @property
    def transactional(self) -> bool:
        return self.magic == 2 and bool(self.attributes & _TRANSACTIONAL)  # noqa: PLR2004 - the format's number

    @property
    def control(self) -> bool:
        return self.magic == 2 and bool(self.attributes & _CONTROL)  # noqa: PLR2004 - likewise

    @property
    def inflates_late(self) -> bool:
        """Whether it is of an older format, compressed, and so inflated only as its items are read."""
        return self.magic in _LEGACY_MAGICS and bool(self.attributes & _CODEC)

    @property
    def raw(self) -> memoryview:
        return memoryview(self.data)[self.start : self.end]

    def check(self) -> None:
        """Raise DamagedError unless the bytes are those that were written."""
        if self.magic in _LEGACY_MAGICS:
            valid = LegacyRecordBatch(self.raw, self.magic).validate_crc()
        elif self.magic == 2:  # noqa: PLR2004 - likewise
            valid = DefaultRecordBatch(self.raw).validate_crc()
        else:
            raise DamagedError(f"there is no format {self.magic}")
        if not valid:
            raise DamagedError("its checksum is not that of its bytes")

    def inflated(self, limit: int) -> "Batch":
        """Return the batch with its records uncompressed; itself, if they are or it is of an older format.

        Raises:
            InflateError: what is compressed cannot be had within `limit` bytes.
        """
        codec = self.attributes & _CODEC
        if not codec or self.magic in _LEGACY_MAGICS:
            return self
        payload = inflate(codec, self.raw[_HEADER.size :], limit)
        head = bytearray(self.raw[: _HEADER.size])
        struct.pack_into(">h", head, _ATTRIBUTES_AT, self.attributes & ~_CODEC)
        data = b"".join((head, payload, PADDING))
        return self._replace(data=data, start=0, end=len(data) - len(PADDING), attributes=self.attributes & ~_CODEC)

    def items(self, limit: int, position: int, marks: Marks) -> Iterator[Item | bytes]:
        """Yield the records in the order of their offsets, and in their place the bytes of those that are damaged.

        Of what stands before `position` little or nothing comes, and `marks`, which are kept from one reading of a
        partition to the next, say where that ends.

        Raises:
            DamagedError: it has more than MOST_RECORDS.
            InflateError: it is of an older format, and what is compressed cannot be had within `limit` bytes.
        """
        if self.magic in _LEGACY_MAGICS:
            return (item for item, _ in _ordered(_legacy(self, limit), self, _NOWHERE))
        head = _HEADER.unpack_from(self.data, self.start)
        if head[-1] > MOST_RECORDS:
            raise DamagedError(f"it has {head[-1]} records, and more than {MOST_RECORDS} are not read")
        marks.of((head[0], head[5], self.end - self.start), Spot(self.base - 1, _HEADER.size, 0))
        begin = _skip(self, position, marks)
        read = _quickly if self.end - self.start <= _SMALL else _carefully
        return _noted(_ordered(read(self, begin), self, begin), marks)


def _skip(batch: Batch, position: int, marks: Marks) -> Spot:
    """Go over what stands before `position`; what is damaged behind the last good record there is not gone over."""
    found = marks.before(position)
    last, _, count = found
    for end, delta in frames(batch.data, batch.start + found.at, batch.end):
        offset = batch.base + delta
        count += 1
        if last < offset < batch.following:
            if offset >= position:
                break
            last, found = offset, Spot(offset, end - batch.start, count)
            marks.note(found)
        if count >= MOST_RECORDS:
            break
    return found


# What is read, and the spot behind it; its offset is not looked at before `_ordered`.
_Read = tuple[Item | bytes, Spot]


def _ordered(read: Iterable[_Read], batch: Batch, begin: Spot) -> Iterator[_Read]:
    """Take for damaged what claims a place that it cannot have."""
    last = begin.last
    for item, spot in read:
        if isinstance(item, Item):
            if not last < item.offset < batch.following:
                yield item.value or b"", spot
                continue
            last = item.offset
        yield item, spot


def _noted(read: Iterable[_Read], marks: Marks) -> Iterator[Item | bytes]:
    for item, spot in read:
        if isinstance(item, Item):
            marks.note(spot)
        yield item


def _quickly(batch: Batch, begin: Spot) -> Iterator[_Read]:
    """Read with aiokafka's reader as far as it gets, and the rest carefully."""
    spot, at = begin, batch.start + begin.at
    head = bytearray(batch.raw[: _HEADER.size])
    (count,) = struct.unpack_from(">i", head, _COUNT_AT)
    struct.pack_into(">i", head, _COUNT_AT, max(count - begin.number, 0))
    data = b"".join((head, memoryview(batch.data)[at : batch.end], PADDING))
    try:
        for found in DefaultRecordBatch(memoryview(data)[: -len(PADDING)]):
            if len(found.headers) > MOST_HEADERS:
                break
            length, behind = decode_varint(batch.data, batch.start + spot.at)
            spot = Spot(found.offset, behind + length - batch.start, spot.number + 1)
            yield Item(found.offset, found.timestamp, found.key, found.value, tuple(found.headers)), spot
        else:
            return
    except Exception:  # noqa: BLE001, S110 - whatever it is that damaged bytes make it raise
        pass
    yield from _carefully(batch, spot)


def _carefully(batch: Batch, begin: Spot) -> Iterator[_Read]:
    head = _HEADER.unpack_from(batch.data, batch.start)
    first_timestamp, max_timestamp, said = head[7], head[8], head[12]
    at, count = batch.start + begin.at, begin.number
    while at < batch.end:
        count += 1
        try:
            length, start = decode_varint(batch.data, at)
        except ValueError:
            length, start = -1, at
        if length < 0 or start + length > batch.end or count > MOST_RECORDS:
            yield batch.data[at : batch.end], begin  # where the next one begins cannot be told
            return
        end = start + length
        try:
            delta, offset_delta, key, value, headers = _body(batch.data, start, end)
        except (ValueError, DamagedError):
            yield batch.data[at:end], begin
        else:
            offset = batch.base + offset_delta
            timestamp = max_timestamp if batch.attributes & _LOG_APPEND_TIME else first_timestamp + delta
            item = Item(offset, None if timestamp == -1 else timestamp, key, value, headers)
            yield item, Spot(offset, end - batch.start, count)
        at = end
    if count < said:
        yield b"", begin  # it has fewer than it says


def _body(data: bytes, begin: int, end: int) -> tuple[int, int, bytes | None, bytes | None, Headers]:
    reader = _Reader(data, begin, end)
    reader.number()  # attributes, which have no meaning yet
    timestamp_delta, offset_delta = reader.number(), reader.number()
    key, value = reader.nullable(), reader.nullable()
    count = reader.number()
    if not 0 <= count <= MOST_HEADERS:
        raise DamagedError(f"it has {count} headers")
    headers = tuple(reader.headers(count))
    if reader.at != end:
        raise DamagedError("its length is not that of its parts")
    return timestamp_delta, offset_delta, key, value, headers


class _Reader:
    """Reads one part of a record after another; raises ValueError or DamagedError where it cannot be.

    Behind what it reads of `data` stands PADDING, or something else.
    """

    def __init__(self, data: bytes, begin: int, end: int) -> None:
        self._data = data
        self._end = end
        self.at = begin

    def number(self) -> int:
        value, self.at = decode_varint(self._data, self.at)
        if self.at > self._end:
            raise DamagedError("it is cut off")
        return int(value)

    def nullable(self) -> bytes | None:
        length = self.number()
        if length < 0:
            return None
        if length > self._end - self.at:
            raise DamagedError("it is cut off")
        self.at += length
        return self._data[self.at - length : self.at]

    def present(self) -> bytes:
        part = self.nullable()
        if part is None:
            raise DamagedError("a header has no name")
        return part

    def headers(self, count: int) -> Iterator[tuple[str, bytes | None]]:
        """Yield so many headers; a batch of a few kilobytes may have 300,000."""
        data = self._data
        for _ in range(count):
            # Most lengths are a single byte, an even one below 128: twice what they say. Behind the end is PADDING.
            if (twice := data[self.at]) & 0x81:
                name = self.present()
            else:
                self.at = end = (begin := self.at + 1) + (twice >> 1)
                name = data[begin:end]
            if self.at < self._end and not (twice := data[self.at]) & 0x81:
                self.at = end = (begin := self.at + 1) + (twice >> 1)
                value: bytes | None = data[begin:end]
            else:
                value = self.nullable()
            if self.at > self._end:
                raise DamagedError("it is cut off")
            # A name that is not UTF-8 is no reason to do without its record.
            yield name.decode("utf-8", "backslashreplace"), value


_NOWHERE = Spot(-1, 0, 0)  # no marks are made where nothing new is written


def _legacy(batch: Batch, limit: int) -> Iterator[_Read]:
    """Read a message of magic 0 or 1, or those that are compressed in it; its offset is then that of the last."""
    if not batch.attributes & _CODEC:
        yield _message(batch.raw, batch.magic), _NOWHERE
        return
    plain = bytearray(batch.raw)
    plain[LEAST] &= ~_CODEC
    wrapped = _message(memoryview(plain), batch.magic).value
    inner = inflate(batch.attributes & _CODEC, memoryview(wrapped or b""), limit).tobytes() + PADDING
    messages: list[Item | bytes] = []
    for start, end in frames_of(inner, len(inner) - len(PADDING)):
        if len(messages) == MOST_RECORDS:
            raise DamagedError(f"it has more than {MOST_RECORDS} records")
        try:
            messages.append(_message(memoryview(inner)[start:end], batch.magic))
        except Exception:  # noqa: BLE001 - whatever it is that damaged bytes make it raise
            messages.append(inner[start:end])
    last = next((each.offset for each in reversed(messages) if isinstance(each, Item)), 0)
    shift = batch.base - last if batch.magic else 0
    for each in messages:
        yield (each._replace(offset=each.offset + shift) if isinstance(each, Item) else each), _NOWHERE


def _message(raw: memoryview, magic: int) -> Item:
    (found,) = LegacyRecordBatch(raw, magic)
    return Item(found.offset, found.timestamp, found.key, found.value, ())


def frames_of(data: bytes, size: int) -> Iterator[tuple[int, int]]:
    """Yield where each whole batch, or message, of `data` begins and ends; `size` is without what pads it.

    What is cut off at the end is left out, unless it is all there is.
    """
    at = 0
    while size - at >= LEAST:
        (length,) = struct.unpack_from(">i", data, at + 8)
        end = at + _OVERHEAD + length
        if length < LEAST - _OVERHEAD or end > size:
            if at == 0 or length < LEAST - _OVERHEAD:
                yield at, size
            return
        yield at, end
        at = end
