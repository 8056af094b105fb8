"""The sizes of records are those that a broker counts, and texts are cut without harm."""

import time
import tracemalloc

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from hypothesis import given
from hypothesis import strategies as st

from callstream.contract.records import Headers, OutgoingRecord, Record, TopicPartition
from callstream.contract.sizes import Sizes, cut, cut_bytes, least_record, memory_of, size_of

some_bytes = st.binary() | st.none() | st.sampled_from([63, 64, 8_191, 8_192, 2**20 - 1, 2**20]).map(bytes)
headers = st.lists(st.tuples(st.text(st.characters(exclude_categories=["Cs"])), some_bytes), max_size=4)


@given(some_bytes, some_bytes, headers)
def test_the_size_of_a_record_is_that_of_its_batch(
    key: bytes | None, value: bytes | None, some: list[tuple[str, bytes | None]]
) -> None:
    batch = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 2**30)
    batch.append(0, int(time.time() * 1000), key, value, some)
    assert size_of(OutgoingRecord("topic", key, value, tuple(some))) == len(batch.build())


def test_the_memory_of_a_record_counts_what_its_headers_take_in_python() -> None:
    headers = tuple((f"name-{number}", b"%d" % number) for number in range(1_000))
    record = Record(TopicPartition("topic", 0), 0, None, b"value", headers, 0.0)
    tracemalloc.start()
    kept = [tuple((str(number) * 3, b"%d" % number) for number in range(1_000)) for _ in range(10)]
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(kept) * memory_of(record) >= taken


@pytest.mark.parametrize("body", [1, 64 * 1024, 2**20])
@pytest.mark.parametrize("items", [1, 1_000, 50_000])
def test_each_record_has_room_in_what_it_becomes(body: int, items: int) -> None:
    sizes = Sizes(least_record(body, items))
    assert body < sizes.request <= sizes.result < sizes.tier < sizes.dead_letter
    assert sizes.batch <= min(sizes.request, sizes.attempt)


@given(st.text(st.characters()), st.integers(1, 50))
def test_a_cut_text_is_short_and_can_be_written(text: str, limit: int) -> None:
    assert len(cut(text, limit)) <= limit
    cut(text, limit).encode()
    assert len(cut_bytes(text, limit)) <= limit
    cut_bytes(text, limit).decode()


def test_a_short_text_stays_as_it_is() -> None:
    headers: Headers = (("dead_letter_error", cut_bytes("größer als erlaubt", 100)),)
    assert (cut("größer als erlaubt"), headers[0][1]) == ("größer als erlaubt", "größer als erlaubt".encode())
