"""What the broker has not acknowledged yet, by topic: one whose partition has no leader harms no other."""

import asyncio
from collections.abc import Iterable
from functools import partial


class Unacknowledged:
    """Records that the producer took, and since when each of them waits."""

    def __init__(self, topics: Iterable[str]) -> None:
        self._since: dict[str, dict[asyncio.Future[object], float]] = {topic: {} for topic in topics}  # oldest first

    def add(self, topic: str, sent: asyncio.Future[object], now: float) -> None:
        """Wait from `now` (in the loop's time) for the acknowledgement of a record."""
        self._since[topic][sent] = now
        sent.add_done_callback(partial(self._settled, topic))

    def age(self, topic: str, now: float) -> float:
        """Return for how many seconds the oldest one has waited for its acknowledgement; 0 where none does."""
        return now - next(iter(self._since[topic].values()), now)

    def _settled(self, topic: str, sent: asyncio.Future[object]) -> None:
        del self._since[topic][sent]
        if not sent.cancelled():
            sent.exception()  # seen, also where nobody waits any more
