"""Where the records of a batch stand, so that reading it can begin at any of them without decoding those before it.

A reader comes to the middle of a batch whenever its partition was held, or its process began anew there, and what a
stranger can put before that place is millions of records, or of headers.
"""

from bisect import bisect_left
from collections.abc import Iterator
from typing import NamedTuple

from aiokafka.record.util import decode_varint

_APART = 1_000  # records between two marks, which are gone over by their lengths alone


class Spot(NamedTuple):
    """A place in a batch: the offset of the last record before it, its byte, and how many records stand before it."""

    last: int
    at: int
    number: int


class Marks:
    """Spots of the one batch of a partition that is being read, in order."""

    def __init__(self) -> None:
        self._batch: object = None
        self._spots: list[Spot] = []

    def of(self, batch: object, begin: Spot) -> "Marks":
        """Begin anew, with this spot, unless it is the batch that was read before."""
        if batch != self._batch:
            self._batch, self._spots = batch, [begin]
        return self

    def before(self, offset: int) -> Spot:
        """Return the last known spot behind which the record of this offset stands."""
        return self._spots[max(bisect_left(self._spots, (offset,)) - 1, 0)]

    def note(self, spot: Spot) -> None:
        if spot.number >= self._spots[-1].number + _APART:
            self._spots.append(spot)


class Frame(NamedTuple):
    """Where a record of a batch ends, and how far its offset is from the batch's."""

    end: int
    delta: int


def frames(data: bytes, at: int, end: int) -> Iterator[Frame]:
    """Yield the frames of the records from `at` to `end`, as far as they can be told; behind `end` stands padding."""
    while at < end:
        try:
            length, begin = decode_varint(data, at)
            _, behind_time = decode_varint(data, begin + 1)
            delta, _ = decode_varint(data, behind_time)
        except ValueError:
            return
        at = begin + length
        if length <= 0 or at > end:
            return
        yield Frame(at, delta)
