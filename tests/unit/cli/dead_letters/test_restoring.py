"""What a replay produces."""

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callstream.contract.dead_letters import Reason, dead_letter, opened
from callstream.contract.headers import task_id_of
from callstream.contract.messages import CallbackAttempt
from callstream.contract.records import Headers, OutgoingRecord, Record, TopicPartition
from callstream.contract.retries import DEADLINE_HEADER, Progress, parked
from cli.dead_letters.planning import replay_of, told_by
from cli.dead_letters.restoring import Skip, homes, note, obstacle, restored
from tests.unit.cli.dead_letters.letters import NOW, ORIGIN, THERE, TOPICS, dead_request, dead_result, result, seen

HOMES = homes(TOPICS, ["data", "installed"])
_BYTES = st.binary() | st.none()
_ANY_HEADERS = st.lists(st.tuples(st.sampled_from(["ce_id", "x", "traceparent", "dead_letter_reason"]), _BYTES))


def replayed(letter: Record) -> OutgoingRecord:
    dead = opened(letter)
    assert dead is not None
    return restored(dead, TOPICS)


@given(_ANY_HEADERS.map(tuple), _BYTES, st.binary())
def test_a_result_comes_back_as_it_was_before_its_first_attempt(
    headers: Headers, key: bytes | None, value: bytes
) -> None:
    fresh = Record(TopicPartition(TOPICS.results, 1), 5, key, value, headers, 0.0)
    tier = TOPICS.retry(timedelta(seconds=5))
    waited = parked(fresh, tier, Progress(3, 1, NOW, NOW, "the receiver answered 500"))
    last = Record(TopicPartition(tier, 0), 9, waited.key, waited.value, waited.headers, 0.0)
    dead = dead_letter(last, TOPICS.callback_dead_letters, Reason.EXHAUSTED, "why")
    letter = Record(TopicPartition(dead.topic, 0), 1, dead.key, dead.value, dead.headers, 0.0)
    assert replayed(letter) == OutgoingRecord(TOPICS.results, key, value, headers)


def test_a_deadline_stays_with_its_result() -> None:
    headers: Headers = (("ce_id", b"a"), (DEADLINE_HEADER, b"2999-01-01T00:00:00+00:00"))
    assert replayed(dead_result(headers=headers)).headers == headers


@given(_ANY_HEADERS.map(tuple), _BYTES)
def test_a_request_goes_back_to_its_topic_byte_for_byte(headers: Headers, value: bytes | None) -> None:
    record = replayed(dead_request(value, headers=headers))
    assert (record.topic, record.key, record.value) == (ORIGIN.topic, None, value)
    assert record.headers[: len(headers)] == headers
    added = record.headers[len(headers) :]
    assert [name for name, _ in added] == ([] if any(name == "ce_id" for name, _ in headers) else ["ce_id"])


def test_a_request_without_an_id_keeps_that_of_its_first_place_however_often_it_is_replayed() -> None:
    first = dead_request()
    once = replayed(first)
    again = Record(TopicPartition(once.topic, 0), 99, once.key, once.value, once.headers, 0.0)
    assert task_id_of(again) == task_id_of(Record(ORIGIN, 42, None, b"", (), 0.0)) == seen(first).task_id
    letter = dead_letter(again, TOPICS.task_dead_letters, Reason.CRASHED, "")
    twice = replayed(Record(TopicPartition(letter.topic, 0), 8, letter.key, letter.value, letter.headers, 0.0))
    assert twice == once


@pytest.mark.parametrize("origin", [TOPICS.results, TOPICS.retry(timedelta(hours=10))])
def test_a_result_that_could_not_be_read_goes_where_results_go(origin: str) -> None:
    letter = dead_request(b"?", origin=TopicPartition(origin, 0), headers=(("callback_attempts", b"many"),))
    assert replayed(letter) == OutgoingRecord(TOPICS.results, None, b"?", ())


def test_bytes_that_could_not_be_decoded_are_no_record_to_replay() -> None:
    original = Record(ORIGIN, 42, None, b"a batch", (), 0.0)
    dead = dead_letter(original, TOPICS.task_dead_letters, Reason.DAMAGED, "its checksum is not that of its bytes")
    letter = opened(Record(TopicPartition(dead.topic, 0), 1, dead.key, dead.value, dead.headers, 0.0))
    assert obstacle(letter, TOPICS, homes(TOPICS, ["calculation"]), set(TOPICS.all(["calculation"], [])), NOW) == (
        Skip.DAMAGED
    )


def cut(letter: Record, parts: str) -> Record:
    """Return a letter that says what was left out."""
    return letter._replace(value=None, headers=(*letter.headers[:-1], ("dead_letter_cut", parts.encode())))


@pytest.mark.parametrize(
    ("letter", "expected"),
    [
        (dead_result(), None),
        (dead_request(), None),
        (dead_request(None), Skip.EMPTY),
        (cut(dead_result(), "value"), Skip.CUT),
        (cut(dead_request(), "value,headers"), Skip.CUT),
        (dead_request(origin=TopicPartition("blue.installed.requests", 0)), Skip.HOMELESS),
        (dead_request(origin=TopicPartition("blue.removed.requests", 0)), Skip.UNREAD),
        (dead_request(origin=TopicPartition("red.data.requests", 0)), Skip.UNREAD),
        (dead_request(origin=TopicPartition("data.requests", 0)), Skip.UNREAD),
        (dead_request(origin=TopicPartition("callback.retry.5s", 0)), Skip.UNREAD),
        (dead_request(origin=TopicPartition(TOPICS.attempts, 0)), Skip.UNREAD),
        (dead_request(origin=TopicPartition(TOPICS.task_dead_letters, 0)), Skip.UNREAD),
        (dead_result(headers=((DEADLINE_HEADER, b"2026-01-31T11:59:59+00:00"),)), Skip.EXPIRED),
        (dead_result(headers=((DEADLINE_HEADER, b"2026-01-31T12:00:01+00:00"),)), None),
        (dead_request(headers=((DEADLINE_HEADER, b"2026-01-31T11:59:59+00:00"),)), Skip.EXPIRED),
        (dead_result(headers=((DEADLINE_HEADER, b"soon"),)), None),
        (Record(TopicPartition(TOPICS.task_dead_letters, 0), 1, None, b"", (), 0.0), Skip.FOREIGN),
    ],
)
def test_what_a_replay_could_not_help_is_left(letter: Record, expected: Skip | None) -> None:
    assert obstacle(opened(letter), TOPICS, HOMES, THERE, NOW) == expected


@pytest.mark.parametrize("letter", [dead_result(), dead_request(), dead_request(result("b"))])
def test_the_note_of_a_replay_is_read_by_the_next(letter: Record) -> None:
    written = note(seen(letter), TOPICS, NOW)
    assert (written.topic, written.key) == (TOPICS.attempts, seen(letter).task_id.encode())
    CallbackAttempt.model_validate_json(written.value or b"")
    stored = Record(TopicPartition(written.topic, 0), 1, written.key, written.value, written.headers, 0.0)
    assert told_by(stored) == replay_of(seen(letter).task_id, str(seen(letter).place))


def test_the_note_of_a_replay_fits_whatever_texts_the_letter_has() -> None:
    huge = json.dumps(
        {"task_id": "t" * 2**20, "task": "x" * 2**20, "callback_url": f"http://{'a.' * 2**19}b/"}
    ).encode()
    record = Record(TopicPartition(TOPICS.results, 1), 42, b"k", huge, (("ce_id", b"a"),), 0.0)
    dead = dead_letter(record, TOPICS.callback_dead_letters, Reason.EXHAUSTED, "é" * 2**20)
    headers = tuple((name, b"e" * 2**20 if name == "dead_letter_error" else value) for name, value in dead.headers)
    letter = seen(Record(TopicPartition(dead.topic, 0), 1, dead.key, dead.value, headers, 0.0))
    assert sum(len(part.encode()) for part in letter[2:]) < 16_384
    written = note(letter, TOPICS, NOW)
    assert len(written.value or b"") + len(written.key or b"") < 16_384
