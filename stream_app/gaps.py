"""What stands in a log and cannot be decoded, and what a log has lost, becomes a dead letter of its own."""

from collections.abc import Awaitable, Callable

from callstream.contract.dead_letters import Reason
from callstream.contract.records import Record
from stream_app.output import Output


class Gaps:
    """Stands between the workload and what processes records, and takes the gaps; their letters go to `topic`."""

    def __init__(self, process: Callable[[Record], Awaitable[None]], output: Output, topic: str) -> None:
        self._process = process
        self._output = output
        self._topic = topic

    async def process(self, record: Record) -> None:
        """Return when the record is processed, or the dead letter of the gap in its place is durable."""
        if (gap := record.gap) is None:
            await self._process(record)
            return
        reason = Reason.LOST if gap.lost else Reason.DAMAGED
        count = gap.until - gap.first
        where = f"offsets {gap.first} to {gap.until - 1} ({count} in all)" if count else f"from offset {gap.first} on"
        error = f"{where}: {gap.why}"
        place = record._replace(offset=gap.first, timestamp=0.0)
        await self._output.dead_letter(place, self._topic, reason, error)
