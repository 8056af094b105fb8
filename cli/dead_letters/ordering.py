"""What several partitions hold, as one, the oldest first, and never more of it in memory than a part."""

from collections import deque
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from heapq import heappop, heappush
from typing import Generic, Protocol, TypeVar

from aiokafka import TopicPartition

from callstream.contract.records import Record
from cli.dead_letters.places import Place
from cli.dead_letters.reading import Source, Spans

# Views read ahead, of all partitions together, at least one of each; fewer would have batches inflated for a few each.
_AHEAD = 4_096


class Dated(Protocol):
    @property
    def at(self) -> datetime: ...

    @property
    def place(self) -> Place: ...


View = TypeVar("View", bound=Dated)


class Ordered(Generic[View]):
    """Views of the records in `spans`; where `view` gives None, the record is left out.

    Each partition is in its own order, and of their next ones the oldest comes first.
    """

    def __init__(self, source: Source, spans: Spans, view: Callable[[Record], View | None]) -> None:
        self._reading = source.reading(spans)
        self._view = view
        self._share = max(1, _AHEAD // max(1, len(spans)))
        self._ahead: dict[TopicPartition, deque[View]] = {tp: deque() for tp in spans}
        self._heads: list[tuple[datetime, Place, TopicPartition]] = []

    async def pages(self, most: int) -> AsyncIterator[list[View]]:
        """Yield them, at most so many at a time; between two pages the source may read something else.

        Raises:
            TimeoutError: the broker does not answer any more.
        """
        self._reading.begin()
        for tp in self._ahead:
            await self._show(tp)
        while self._heads:
            yield await self._page(most)
            self._reading.begin()

    async def _page(self, most: int) -> list[View]:
        page: list[View] = []
        while self._heads and len(page) < most:
            *_, tp = heappop(self._heads)
            page.append(self._ahead[tp].popleft())
            await self._show(tp)
        return page

    async def _show(self, tp: TopicPartition) -> None:
        """Put a partition's next view among the heads, unless the partition is at its end."""
        ahead = self._ahead[tp]
        while not ahead and (records := await self._reading.next(tp, self._share)):
            ahead.extend(view for record in records if (view := self._view(record)) is not None)
        if ahead:
            heappush(self._heads, (ahead[0].at, ahead[0].place, tp))
