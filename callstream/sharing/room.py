"""How much may be under way in one process, in records and in bytes, and how its parts share that."""

from collections.abc import Hashable
from dataclasses import dataclass

from callstream.sharing.lanes import Lanes


@dataclass(frozen=True)
class Size:
    """So many records, and the bytes of all of them together."""

    records: int
    size: int


class Room:
    """Room for the work of several lanes, which are known beforehand, and share both the records and the bytes.

    A lane's last record may be larger than what is left: every record fits alone.
    """

    def __init__(self, limit: Size, lanes: int) -> None:
        self.most_waiting = limit.size // 2  # bytes of records that are read and not begun, beside those under way
        self.records = 0  # how many are under way
        self._records = Lanes(limit.records, lanes)
        self._bytes = Lanes(limit.size, lanes)

    def has(self, lane: Hashable) -> bool:
        """Return whether one more record of this lane may begin."""
        return self._records.has(lane) and self._bytes.has(lane)

    def enter(self, lane: Hashable, size: int) -> None:
        self._change(lane, 1, size)

    def leave(self, lane: Hashable, size: int) -> None:
        self._change(lane, -1, -size)

    def _change(self, lane: Hashable, records: int, size: int) -> None:
        self.records += records
        self._records.change(lane, records)
        self._bytes.change(lane, size)
