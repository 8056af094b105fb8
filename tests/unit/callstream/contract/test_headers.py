"""Which task a record belongs to, and what of its headers goes on."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callstream.contract.headers import HeaderError, event_headers, task_id_of
from callstream.contract.records import Headers, Record, TopicPartition
from tests.unit.records import record

TRACE: Headers = (("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), ("tracestate", b"a=1"))


def at(topic: str, partition: int, offset: int) -> Record:
    return Record(TopicPartition(topic, partition), offset, None, b"", (), 0.0)


@pytest.mark.parametrize("given_id", [b"t", b"0192f5c4-0000-7000-8000-000000000000", b"!" * 128])
def test_the_id_that_a_record_brings_is_its_tasks(given_id: bytes) -> None:
    assert task_id_of(record(b"", headers=(("other", b"x"), ("ce_id", given_id)))) == given_id.decode()


@pytest.mark.parametrize(
    "headers",
    [
        (("ce_id", b"a"), ("ce_id", b"a")),
        (("ce_id", b""),),
        (("ce_id", None),),
        (("ce_id", b"a b"),),
        (("ce_id", b"a\n"),),
        (("ce_id", b"\xff"),),
        (("ce_id", "ü".encode()),),
        (("ce_id", b"a" * 129),),
    ],
)
def test_an_id_that_cannot_be_used_is_an_error_that_names_the_header(headers: Headers) -> None:
    with pytest.raises(HeaderError, match="ce_id"):
        task_id_of(record(b"", headers=headers))


def test_a_record_without_an_id_has_the_same_one_at_each_reading() -> None:
    first, second = (task_id_of(record(value, headers=TRACE)) for value in (b"1", b"2"))
    assert first == second
    assert UUID(first).version == 5


def test_the_derived_id_of_a_place_stays_what_it_was_in_every_version() -> None:
    assert task_id_of(at("calculation.requests", 3, 42)) == "e2db2ba8-5fa2-526a-abc4-01791e15aaf0"


places = st.tuples(st.text("ab/.1", max_size=3), st.integers(0, 20), st.integers(0, 20))


@given(places, places)
def test_two_places_have_the_same_derived_id_only_if_they_are_one(
    one: tuple[str, int, int], other: tuple[str, int, int]
) -> None:
    assert (task_id_of(at(*one)) == task_id_of(at(*other))) == (one == other)


def test_the_headers_of_an_event_are_those_of_cloudevents_and_read_back() -> None:
    headers = event_headers("t-1", "calculation.finished", "tasks", TRACE)
    assert set(TRACE) < set(headers)
    assert {name for name, _ in headers if name.startswith("ce_")} == {
        "ce_specversion",
        "ce_id",
        "ce_type",
        "ce_source",
        "ce_time",
    }
    assert task_id_of(record(b"", headers=headers)) == "t-1"
