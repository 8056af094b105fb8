"""Reading ends where the log ended at its start, and does not wait for ever for a broker that is silent."""

from typing import Any, NamedTuple

import pytest
from aiokafka import TopicPartition

from cli.dead_letters.reading import Source

TP = TopicPartition("task.dead-letters", 0)


class Found(NamedTuple):
    """A record as aiokafka gives it."""

    offset: int
    topic: str = TP.topic
    partition: int = TP.partition
    key: bytes | None = None
    value: bytes | None = b""
    headers: tuple[tuple[str, bytes], ...] = ()
    timestamp: int = 1_000
    checksum: None = None


class Log:
    """Stands in for a consumer of one partition, whose records come in `batches`; then it is silent."""

    def __init__(self, end: int, *batches: list[int]) -> None:
        self._end = end
        self._batches = list(batches)
        self._position = 0

    async def beginning_offsets(self, _: Any) -> dict[TopicPartition, int]:
        return {TP: 0}

    async def end_offsets(self, _: Any) -> dict[TopicPartition, int]:
        return {TP: self._end}

    async def getmany(self, *_: Any, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[Found]]:
        assert timeout_ms > 0
        assert max_records > 0
        if not self._batches:
            return {}
        batch = self._batches.pop(0)
        self._position = batch[-1] + 1
        return {TP: [Found(offset) for offset in batch]}

    async def position(self, _: TopicPartition) -> int:
        return self._position

    def assign(self, _: Any) -> None: ...

    def seek(self, _: TopicPartition, offset: int) -> None:
        self._position = offset

    def pause(self, _: TopicPartition) -> None: ...


@pytest.mark.parametrize(
    ("log", "offsets"),
    [
        (Log(0), []),
        (Log(3, [0, 1, 2]), [0, 1, 2]),
        (Log(3, [0], [1, 2, 3, 4]), [0, 1, 2]),
        (Log(3, [0], [1, 9]), [0, 1]),
    ],
)
async def test_what_is_stored_after_the_start_is_left_to_the_next_reading(log: Log, offsets: list[int]) -> None:
    records = [record async for record in Source(log, {TP.topic: [0]}, patience=5).scan([TP.topic])]
    assert [record.offset for record in records] == offsets


async def test_a_broker_that_falls_silent_is_given_up() -> None:
    records = Source(Log(3, [0]), {TP.topic: [0]}, patience=0).scan([TP.topic])
    assert (await anext(records)).offset == 0
    with pytest.raises(TimeoutError):
        await anext(records)
