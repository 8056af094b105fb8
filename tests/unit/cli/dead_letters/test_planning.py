"""Which dead letters a replay replays, and which it leaves."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callstream.contract.messages import CallbackAttempt, result_digest
from callstream.contract.records import Record, TopicPartition
from callstream.contract.sizes import ATTEMPT
from cli.dead_letters.planning import Candidate, Plan, delivery, replay_of, selected, told_by
from cli.dead_letters.replaying import Tally
from cli.dead_letters.restoring import Skip
from stream_app.outcome import Delivered, Refused, name
from tests.unit.cli.dead_letters.letters import NOW, TOPICS, dead_request, dead_result, result, seen

_PLACES = st.integers(0, 20)
REAL = result_digest(result())
ERRORS = result_digest(b"its errors")


def candidate(offset: int, *, task_id: str = "a", obstacle: Skip | None = None) -> Candidate:
    letter = dead_result(result(task_id), offset=offset)
    return Candidate.of(seen(letter), REAL, obstacle)


def place(offset: int, task_id: str = "a") -> bytes:
    return replay_of(task_id, f"{TOPICS.callback_dead_letters}/0@{offset}")


def any_of(task_id: str) -> bytes:
    """What an earlier version noted of a delivery."""
    return delivery(task_id, None)


def counted(plan: Plan) -> Counter[Skip]:
    return Counter(skip for _, skip in plan.left)


@given(st.lists(_PLACES, unique=True), st.sets(_PLACES), st.sets(_PLACES), st.integers(1, 30) | st.none())
def test_every_letter_up_to_the_last_is_replayed_or_counted(
    offsets: list[int], delivered: set[int], replayed: set[int], limit: int | None
) -> None:
    history = {any_of(str(offset)) for offset in delivered} | {place(offset, str(offset)) for offset in replayed}
    plan = selected([candidate(offset, task_id=str(offset)) for offset in offsets], history, limit)
    chosen = [place.offset for place in plan.places]
    open_ones = [offset for offset in offsets if offset not in delivered | replayed]
    assert chosen == open_ones[:limit]
    seen_ones = offsets if len(chosen) != limit else offsets[: offsets.index(chosen[-1]) + 1]
    assert len(chosen) + len(plan.left) == len(seen_ones)
    assert counted(plan)[Skip.DELIVERED] == len(delivered.intersection(seen_ones))


def test_a_place_that_was_replayed_is_left_and_a_later_one_of_the_same_task_is_not() -> None:
    plan = selected([candidate(1), candidate(2)], {place(1)}, None)
    assert [place.offset for place in plan.places] == [2]
    assert counted(plan) == {Skip.REPLAYED: 1}


def test_a_replay_of_another_task_at_the_same_place_does_not_count() -> None:
    plan = selected([candidate(1)], {place(1, "of a topic that was made anew")}, None)
    assert len(plan.places) == 1


def test_a_request_whose_failure_was_told_to_its_receiver_is_replayed_all_the_same() -> None:
    request = Candidate.of(seen(dead_request(headers=(("ce_id", b"a"),))), None, None)
    plan = selected([request, candidate(2)], {any_of("a")}, None)
    assert plan.places == [request.place]
    assert counted(plan) == {Skip.DELIVERED: 1}


def test_a_result_is_replayed_where_another_of_its_task_was_delivered() -> None:
    real = candidate(1)
    plan = selected([real], {delivery("a", ERRORS)}, None)
    assert plan.places == [real.place]
    plan = selected([real], {delivery("a", ERRORS), delivery("a", REAL)}, None)
    assert counted(plan) == {Skip.DELIVERED: 1}


def test_a_delivery_that_does_not_tell_which_result_it_was_counts_for_any() -> None:
    assert counted(selected([candidate(1)], {any_of("a")}, None)) == {Skip.DELIVERED: 1}


@pytest.mark.parametrize("skip", [Skip.EXPIRED, Skip.EMPTY])
def test_what_cannot_be_helped_is_counted_by_why(skip: Skip) -> None:
    plan = selected([candidate(1, obstacle=skip)], set(), None)
    assert plan == Plan([], [(candidate(1).place, skip)])
    assert str(Tally(0, counted(plan))).endswith(
        f"delivered meanwhile 0, skipped as replayed before 0, skipped as {skip} 1"
    )


def test_only_what_the_dispatcher_calls_delivered_counts() -> None:
    told = []
    for task_id, outcome in (("a", Delivered(200)), ("b", Refused())):
        attempt = CallbackAttempt(
            task_id=task_id,
            number=1,
            receiver="",
            outcome=name(outcome),
            status=None,
            detail="",
            started=NOW,
            duration_ms=1,
            next_due=None,
            result_digest="00ff",
        )
        earlier = attempt.model_dump_json(exclude={"dead_letter", "result_digest"})  # as earlier versions wrote it
        told += [told_by(stored(value.encode())) for value in (attempt.model_dump_json(), earlier)]
    assert told == [delivery("a", "00ff"), any_of("a"), None, None]
    assert told_by(stored(b"not ours")) is None


def test_what_is_larger_than_any_attempt_is_not_read() -> None:
    attempt = CallbackAttempt(
        task_id="a",
        number=1,
        receiver="",
        outcome="delivered",
        status=200,
        detail="",
        started=NOW,
        duration_ms=1,
        next_due=None,
    )
    value = attempt.model_dump_json().encode()
    assert told_by(stored(value.ljust(ATTEMPT))) == any_of("a")
    assert told_by(stored(value.ljust(ATTEMPT + 1))) is None


def stored(value: bytes) -> Record:
    return Record(TopicPartition(TOPICS.attempts, 0), 1, b"", value, (), 0.0)
