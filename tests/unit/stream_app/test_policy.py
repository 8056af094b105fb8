"""When a callback is tried again, where it waits, and how its outcome reads."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callstream.runtime.settings import Settings
from stream_app.outcome import Delivered, Failed, Forbidden, Outcome, Refused, Throttled, Unreachable, describe
from stream_app.policy import Policy
from stream_app.retry_after import retry_after

CAP = timedelta(hours=6)
DEFAULT = Policy(Settings.model_construct().callbacks.schedule, CAP)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
NONE = timedelta(0)
SILENCE = Unreachable("no answer within 15 s")

delays = st.timedeltas(timedelta(milliseconds=1), timedelta(days=7))
schedules = st.lists(delays, min_size=1, max_size=12)
policies = st.builds(Policy, schedules, delays)
jitters = st.floats(0, 1)
waits = st.timedeltas(timedelta(0), timedelta(days=3))
failures: st.SearchStrategy[Outcome] = st.one_of(
    st.builds(Failed, st.sampled_from([302, 404, 500])),
    st.builds(Unreachable, st.text()),
    st.builds(Throttled, st.sampled_from([429, 502, 503, 504]), st.none() | waits),
)


def test_the_schedule_is_the_documented_one() -> None:
    seconds = [5, 30, 300, 1_800, 7_200, 18_000, 36_000, 36_000]
    found = [DEFAULT.next_delay(Failed(500), attempt, 0.0) for attempt in range(1, 10)]
    assert found == [*(timedelta(seconds=second) for second in seconds), None]


@given(policies, failures, st.integers(1, 15), jitters)
def test_a_delay_is_never_earlier_than_scheduled_and_at_most_a_fifth_later(
    policy: Policy, outcome: Outcome, attempt: int, jitter: float
) -> None:
    delay = policy.next_delay(outcome, attempt, jitter)
    if attempt > len(policy.schedule):
        assert delay is None
        return
    base = policy.schedule[attempt - 1]
    asked = outcome.retry_after if isinstance(outcome, Throttled) and outcome.retry_after else timedelta(0)
    least = max(base, min(asked, policy.retry_after_cap))
    assert delay is not None
    assert least <= delay <= least * 1.2 + timedelta(microseconds=1)


@given(policies, st.sampled_from([Delivered(200), Refused(), Forbidden("10.0.0.1")]), st.integers(1, 15), jitters)
def test_what_is_decided_is_not_tried_again(policy: Policy, outcome: Outcome, attempt: int, jitter: float) -> None:
    assert policy.next_delay(outcome, attempt, jitter) is None


@given(policies, st.integers(0, 30), st.booleans(), jitters)
def test_pauses_grow_and_never_exceed_a_minute_unless_every_tier_does(
    policy: Policy,
    waited: int,
    away: bool,  # noqa: FBT001 - drawn
    jitter: float,
) -> None:
    pause = policy.next_pause(waited, away=away, rest=NONE, crowded=False, jitter=jitter)
    assert pause <= policy.next_pause(waited + 1, away=away, rest=NONE, crowded=False, jitter=jitter)
    assert pause <= policy.next_pause(waited, away=True, rest=NONE, crowded=False, jitter=jitter)
    longest = policy.next_pause(waited, away=True, rest=NONE, crowded=False, jitter=0.0)
    assert longest <= max(timedelta(minutes=1), policy.tiers[0])


def test_a_receiver_that_is_only_busy_is_not_left_alone_for_long() -> None:
    seconds = [DEFAULT.next_pause(waits, away=False, rest=NONE, crowded=False, jitter=0).seconds for waits in range(6)]
    assert seconds == [5, 5, 5, 5, 30, 30]


def test_who_waits_for_a_receiver_that_is_away_looks_every_half_minute_where_it_is_not_crowded() -> None:
    seconds = [
        DEFAULT.next_pause(waits, away=True, rest=NONE, crowded=False, jitter=0).seconds for waits in (0, 1, 2, 1_000)
    ]
    assert seconds == [5, 30, 30, 30]
    assert DEFAULT.next_pause(0, away=True, rest=NONE, crowded=True, jitter=0) == timedelta(minutes=5)


def test_who_waits_for_a_receiver_that_is_left_alone_is_there_soon_after_its_next_probe() -> None:
    rest = timedelta(seconds=20)
    pauses = [DEFAULT.next_pause(9, away=True, rest=rest, crowded=False, jitter=jitter) for jitter in (0, 1)]
    assert pauses == [rest, rest * 1.2]


@pytest.mark.parametrize(
    ("outcome", "minutes", "looks"),
    [
        (Failed(500), 0.5, False),  # it is tried soon enough
        (Failed(500), 5, True),
        (SILENCE, 36, True),
        (SILENCE, 120, False),  # hundreds of looks for one attempt
        (Throttled(503), 5, True),
        (Throttled(503, timedelta(minutes=5)), 5, False),  # the receiver said when
    ],
)
def test_one_whose_next_attempt_is_some_minutes_away_looks_whether_its_receiver_is_back(
    outcome: Outcome,
    minutes: float,
    looks: bool,  # noqa: FBT001 - a column
) -> None:
    delay = timedelta(minutes=minutes)
    assert DEFAULT.looks_early(outcome, delay) is looks
    assert DEFAULT.look_tier(delay, NONE) == timedelta(seconds=30)
    assert DEFAULT.look_tier(delay, timedelta(seconds=12)) == timedelta(seconds=30)
    assert DEFAULT.look_tier(delay, timedelta(seconds=3)) == timedelta(seconds=5)


@given(policies, st.floats(0.01, 3), jitters)
def test_a_result_waits_in_tiers_until_it_is_due_in_a_bounded_number_of_rounds(
    policy: Policy, longest_tiers: float, jitter: float
) -> None:
    due = NOW + policy.tiers[-1] * longest_tiers * (1 + 0.2 * jitter)
    now, rounds = NOW, 0
    while due > now:
        tier = policy.tier_for(due - now)
        assert tier in policy.tiers
        woken = policy.wake(tier, now, due)
        assert now < woken <= due
        now, rounds = woken, rounds + 1
        assert rounds <= 12 * len(policy.tiers)


@given(policies, waits)
def test_nothing_holds_up_its_tier_by_more_than_the_spread(policy: Policy, later: timedelta) -> None:
    for tier in policy.tiers:
        woken = policy.wake(tier, NOW, NOW + later)
        assert woken <= NOW + tier * 1.2 + policy.tiers[0] + timedelta(microseconds=2)


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("0", 0),
        (" 120 ", 120),
        ("Thu, 01 Jan 2026 00:02:00 GMT", 120),
        ("Wed, 31 Dec 2025 23:00:00 GMT", 0),
        ("9" * 400, 365 * 86_400),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 365 * 86_400),
        ("-5", None),
        ("1.5", None),
        ("٣", None),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, wait: int | None) -> None:
    assert retry_after(value, NOW) == (None if wait is None else timedelta(seconds=wait))


@given(st.text())
def test_no_retry_after_breaks_anything(value: str) -> None:
    found = retry_after(value, NOW)
    assert found is None or found >= timedelta(0)


@pytest.mark.parametrize(
    ("outcome", "text"),
    [
        (Delivered(204), "the receiver answered 204"),
        (Refused(), "the receiver answered 410"),
        (Failed(302), "the receiver answered 302"),
        (Throttled(429), "the receiver answered 429"),
        (Throttled(503, timedelta(seconds=90)), "the receiver answered 503 and asked for 90 s"),
        (Unreachable("no answer within 15 s"), "no answer within 15 s"),
        (Forbidden("10.0.0.1"), "the address 10.0.0.1 must not be reached"),
    ],
)
def test_an_outcome_reads_as_a_sentence(outcome: Outcome, text: str) -> None:
    assert describe(outcome) == text
