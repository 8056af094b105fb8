"""Several partitions are read as one, the oldest first."""

from heapq import merge
from itertools import chain, count

import pytest
from aiokafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from callstream.contract.records import Record
from cli.dead_letters import ordering
from cli.dead_letters.letters import Letter
from cli.dead_letters.ordering import Ordered
from tests.unit.cli.dead_letters.letters import TOPICS, seen
from tests.unit.cli.dead_letters.logs import PARTITIONS, Found, Logs, source

TOPIC = TOPICS.task_dead_letters
_TIMES = st.lists(st.integers(1, 50), max_size=12)


def logs_of(times: list[list[int]]) -> Logs:
    """Return a log a partition, of records of these times in seconds, and one of attempts."""
    made = {TopicPartition(TOPIC, number): log for number, log in enumerate(times)}
    lengths = {tp: len(log) for tp, log in made.items()} | {TopicPartition(TOPICS.attempts, 0): 5}
    return Logs(
        lengths, lambda tp, at: Found(tp.topic, tp.partition, at, timestamp=made[tp][at] * 1000 if tp in made else 1)
    )


def odd(record: Record) -> Letter | None:
    return seen(record) if record.timestamp % 2 else None


@given(st.lists(_TIMES, min_size=PARTITIONS, max_size=PARTITIONS), st.integers(1, 10), st.integers(1, 8))
async def test_partitions_are_merged_by_time_page_by_page_whatever_is_read_in_between(
    times: list[list[int]], most: int, ahead: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ordering, "_AHEAD", ahead)
        read = source(logs_of(times))
        pages: list[list[Letter]] = []
        async for page in Ordered(read, await read.spans([TOPIC]), odd).pages(most):
            pages.append(page)
            assert len([each async for each in read.read(await read.spans([TOPICS.attempts]))]) == 5
    wanted = [
        [(time, number, offset) for offset, time in enumerate(log) if time % 2] for number, log in enumerate(times)
    ]
    found = [(int(each.at.timestamp()), each.place.partition.partition, each.place.offset) for each in chain(*pages)]
    assert found == list(merge(*wanted, key=lambda each: each[:2]))
    assert [len(page) for page in pages[:-1]] == [most] * (len(pages) - 1)


async def test_no_more_than_a_part_is_read_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordering, "_AHEAD", 30)
    read = source(logs_of([list(range(1, 101))] * PARTITIONS))
    seen_ones = count()

    def view(record: Record) -> Letter:
        next(seen_ones)
        return seen(record)

    pages = Ordered(read, await read.spans([TOPIC]), view).pages(10)
    assert len(await anext(pages)) == 10
    assert next(seen_ones) <= 30 + 10
