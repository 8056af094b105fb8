"""When a callback is tried again, and how its outcome reads."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.outcome import Delivered, Failed, Outcome, Refused, Unreachable, describe
from stream_app.policy import next_delay

SCHEDULE = [timedelta(seconds=1), timedelta(seconds=5)]


@pytest.mark.parametrize("outcome", [Failed(500), Failed(302), Unreachable("Connection refused")])
@pytest.mark.parametrize(("attempt", "delay"), [(1, SCHEDULE[0]), (2, SCHEDULE[1]), (3, None)])
def test_a_failed_attempt_is_followed_by_another_until_the_schedule_ends(
    outcome: Outcome, attempt: int, delay: timedelta | None
) -> None:
    assert next_delay(outcome, attempt, SCHEDULE) == delay


@given(st.sampled_from([Delivered(200), Delivered(204), Refused()]), st.integers(1, 10), st.lists(st.timedeltas()))
def test_what_was_delivered_or_refused_is_not_tried_again(
    outcome: Outcome, attempt: int, schedule: list[timedelta]
) -> None:
    assert next_delay(outcome, attempt, schedule) is None


@pytest.mark.parametrize(
    ("outcome", "text"),
    [
        (Delivered(204), "the receiver answered 204"),
        (Refused(), "the receiver answered 410"),
        (Failed(302), "the receiver answered 302"),
        (Unreachable("no answer within 15 s"), "no answer within 15 s"),
    ],
)
def test_an_outcome_reads_as_a_sentence(outcome: Outcome, text: str) -> None:
    assert describe(outcome) == text
