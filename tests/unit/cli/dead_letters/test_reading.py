"""Reading ends where the log ended at its start, and does not wait for ever for a broker that is silent."""

from typing import Any

import pytest
from aiokafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from cli.dead_letters.places import Place
from cli.dead_letters.reading import Source, spans_of
from tests.unit.cli.dead_letters.logs import Found

TP = TopicPartition("task.dead-letters", 0)


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
        return {TP: [Found(TP.topic, TP.partition, offset) for offset in batch]}

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
    source = Source(log, {TP.topic: [0]}, patience=5)
    records = [record async for record in source.read(await source.spans([TP.topic]))]
    assert [record.offset for record in records] == offsets


async def test_a_broker_that_falls_silent_is_given_up() -> None:
    source = Source(Log(3, [0]), {TP.topic: [0]}, patience=0)
    records = source.read(await source.spans([TP.topic]))
    assert (await anext(records)).offset == 0
    with pytest.raises(TimeoutError):
        await anext(records)


@given(st.lists(st.builds(Place, st.builds(TopicPartition, st.just("a"), st.integers(0, 2)), st.integers(0, 50))))
def test_places_are_read_from_the_first_to_the_last_of_each_partition(places: list[Place]) -> None:
    spans = spans_of(places)
    assert spans.keys() == {place.partition for place in places}
    for tp, span in spans.items():
        offsets = [place.offset for place in places if place.partition == tp]
        assert span == range(min(offsets), max(offsets) + 1)
