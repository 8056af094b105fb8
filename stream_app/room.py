"""How much may be under way in one process, in records and in bytes, and how its parts share that."""

from collections.abc import Hashable
from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """So many records, and the bytes of all of them together."""

    records: int
    size: int

    def part(self, of: int) -> "Size":
        return Size(self.records // of, self.size // of)


class Room:
    """Room for the work of several lanes, which are known beforehand.

    Half of it is set aside, an equal share for each lane, so that no lane can fill it all against the others; the other
    half is for whoever comes first. A lane's last record may be larger than what is left: every record fits alone.
    """

    def __init__(self, limit: Size, lanes: int) -> None:
        self.most_waiting = limit.size // 2  # bytes of records that are read and not begun, beside those under way
        self._own = limit.part(2 * max(lanes, 1))
        self._shared_limit = Size(limit.records - lanes * self._own.records, limit.size - lanes * self._own.size)
        self._lanes: dict[Hashable, list[int]] = {}  # records and bytes of each lane
        self._shared = [0, 0]  # what the lanes have beyond their own shares, together

    @property
    def records(self) -> int:
        """How many records are under way."""
        return sum(lane[0] for lane in self._lanes.values())

    def has(self, lane: Hashable) -> bool:
        """Return whether one more record of this lane may begin."""
        records, size = self._lanes.get(lane, (0, 0))
        own, shared = self._own, self._shared_limit
        return (records < own.records or self._shared[0] < shared.records) and (
            size < own.size or self._shared[1] < shared.size
        )

    def enter(self, lane: Hashable, size: int) -> None:
        self._change(lane, 1, size)

    def leave(self, lane: Hashable, size: int) -> None:
        self._change(lane, -1, -size)

    def _change(self, lane: Hashable, records: int, size: int) -> None:
        held = self._lanes.setdefault(lane, [0, 0])
        for index, (more, own) in enumerate(((records, self._own.records), (size, self._own.size))):
            before = max(0, held[index] - own)
            held[index] += more
            self._shared[index] += max(0, held[index] - own) - before
