"""A dead letter keeps what came, and says where it came from and why."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callstream.contract.dead_letters import DeadLetter, Reason, dead_letter, opened
from callstream.contract.records import Headers, OutgoingRecord, Record, TopicPartition
from callstream.contract.sizes import LETTER_HEADERS, size_of
from tests.unit.records import header, record

LETTER = dead_letter(record(b""), "task.dead-letters", Reason.REFUSED, "")


@pytest.mark.parametrize("value", [b"\xff not { json", b"", None])
@pytest.mark.parametrize("key", [b"\x00key", None])
def test_a_dead_letter_is_the_record_as_it_came(value: bytes | None, key: bytes | None) -> None:
    headers: Headers = (("ce_id", b"a"), ("ce_id", b"b"), ("x", None), ("dead_letter_reason", b"an earlier one"))
    letter = dead_letter(record(value, key=key, headers=headers), "task.dead-letters", Reason.UNREADABLE, "why")
    assert (letter.topic, letter.key, letter.value) == ("task.dead-letters", key, value)
    assert letter.headers[: len(headers)] == headers


@pytest.mark.parametrize("reason", Reason)
def test_a_dead_letter_tells_its_origin_and_reason(reason: Reason) -> None:
    letter = dead_letter(record(b"", topic="data.requests"), "task.dead-letters", reason, "the value is not JSON")
    assert dict(letter.headers) == {
        "dead_letter_reason": reason.value.encode(),
        "dead_letter_error": b"the value is not JSON",
        "dead_letter_topic": b"data.requests",
        "dead_letter_partition": b"3",
        "dead_letter_offset": b"42",
        "dead_letter_cut": b"",
    }


@given(st.text(st.characters(exclude_categories=())), st.sampled_from([1, 5_000]))
def test_the_error_of_a_dead_letter_is_bounded_and_always_utf_8(text: str, times: int) -> None:
    error = header(dead_letter(record(b""), "task.dead-letters", Reason.UNREADABLE, text * times), "dead_letter_error")
    assert error is not None
    assert len(error) <= 4_096
    assert (text * times).encode("utf-8", "replace").startswith(error)
    error.decode()


@pytest.mark.parametrize(
    ("value", "headers", "key", "cut"),
    [
        (900, 100, 100, ""),
        (9_000, 100, 100, "value"),
        (100, 9_000, 100, "value,headers"),
        (100, 100, 9_000, "value,headers,key"),
    ],
)
def test_a_dead_letter_says_what_it_leaves_out_and_always_fits(value: int, headers: int, key: int, cut: str) -> None:
    original = record(b"v" * value, key=b"k" * key, headers=(("h", b"h" * headers),))
    letter = dead_letter(original, "task.dead-letters", Reason.TOO_LARGE, "why", 2_000)
    assert size_of(letter) <= 2_000
    found = opened(stored(letter))
    assert found is not None
    assert found.cut == cut
    assert (found.original.value is None) == ("value" in cut)
    assert (found.original.headers == ()) == ("headers" in cut)
    assert (found.original.key is None) == ("key" in cut)


@given(st.text(), st.sampled_from(Reason))
def test_what_a_dead_letter_adds_fits_into_the_room_for_it(error: str, reason: Reason) -> None:
    original = record(b"value", key=b"key", topic="t" * 249)
    letter = dead_letter(original, "t" * 249, reason, error * 5_000)
    assert size_of(letter) - size_of(OutgoingRecord("t", original.key, original.value, ())) <= LETTER_HEADERS


_HEADERS = st.lists(
    st.tuples(
        st.text() | st.sampled_from(["dead_letter_reason", "dead_letter_topic", "ce_id"]), st.binary() | st.none()
    )
)


def stored(letter: OutgoingRecord) -> Record:
    return Record(TopicPartition(letter.topic, 0), 7, letter.key, letter.value, letter.headers, 1.0)


@given(
    _HEADERS.map(tuple),
    st.binary() | st.none(),
    st.sampled_from(Reason),
    st.text().filter(lambda text: len(text) < 999),
)
def test_a_dead_letter_opens_to_what_was_put_in(
    headers: Headers, value: bytes | None, reason: Reason, error: str
) -> None:
    original = record(value, headers=headers, timestamp=1.0)
    letter = stored(dead_letter(original, "task.dead-letters", reason, error))
    assert opened(letter) == DeadLetter(original, reason, error, "")


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (("dead_letter_reason", b"unreadable"),),
        LETTER.headers[::-1],
        (*LETTER.headers, ("one", b"more")),
        (*LETTER.headers[:-2], ("dead_letter_offset", b"x"), LETTER.headers[-1]),
        (*LETTER.headers[:-2], ("dead_letter_offset", None), LETTER.headers[-1]),
    ],
)
def test_what_others_wrote_among_dead_letters_is_none_of_ours(headers: Headers) -> None:
    assert opened(record(b"", topic="task.dead-letters", headers=headers)) is None
