"""What the broker has not acknowledged yet, by topic: one whose partition has no leader harms no other."""

import asyncio
from collections.abc import Iterable

from callstream.sharing.lanes import Lanes


class Unacknowledged:
    """Room for so many `records` with `size` bytes; of both each topic finds a part free of the others."""

    def __init__(self, topics: Iterable[str], records: int, size: int) -> None:
        self._since: dict[str, dict[asyncio.Future[object], float]] = {topic: {} for topic in topics}  # oldest first
        self._records = Lanes(records, len(self._since))
        self._bytes = Lanes(size, len(self._since))
        self.records = 0

    def has_room(self, topic: str) -> bool:
        return self._records.has(topic) and self._bytes.has(topic)

    def enter(self, topic: str, size: int) -> None:
        """Take room for a record, until it leaves."""
        self._change(topic, 1, size)

    def leave(self, topic: str, size: int) -> None:
        self._change(topic, -1, -size)

    def add(self, topic: str, sent: asyncio.Future[object], now: float) -> None:
        """Wait from `now` (in the loop's time) for the acknowledgement of a record that the producer took."""
        self._since[topic][sent] = now
        sent.add_done_callback(self._since[topic].__delitem__)
        sent.add_done_callback(_seen)

    def age(self, topic: str, now: float) -> float:
        """Return for how many seconds the oldest one has waited for its acknowledgement; 0 where none does."""
        return now - next(iter(self._since[topic].values()), now)

    def _change(self, topic: str, records: int, size: int) -> None:
        self.records += records
        self._records.change(topic, records)
        self._bytes.change(topic, size)


def _seen(sent: asyncio.Future[object]) -> None:
    if not sent.cancelled():
        sent.exception()  # also where nobody waits any more
