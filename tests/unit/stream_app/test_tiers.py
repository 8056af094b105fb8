"""A record in a tier waits until it is due, and never holds up the others for longer than its tier may."""

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callstream.contract.records import Record
from callstream.contract.retries import Progress, parked, progress_of
from callstream.contract.topics import Topics
from stream_app.policy import Policy
from stream_app.tiers import Tiers, by_our_clock
from tests.unit.records import record

NOW = datetime(2026, 1, 1, tzinfo=UTC)
POLICY = Policy([timedelta(seconds=5), timedelta(seconds=30), timedelta(minutes=5)], timedelta(hours=6))
HELD = timedelta(seconds=5 * 1.2 + 5)  # what the tier of 5 s may hold those behind


class Clocks:
    """The reader's two clocks: one may be set, the other only goes on."""

    def __init__(self) -> None:
        self.now = NOW
        self.seconds = 1_000.0
        self.tiers = Tiers(Topics(), POLICY, lambda: self.now, lambda: self.seconds)

    def pass_(self, time: timedelta) -> None:
        self.now += time
        self.seconds += time.total_seconds()

    def out(self, waiting: Record) -> timedelta:
        """Return for how long the record waits, looked at every minute at least, as the workload does."""
        began = self.seconds
        while (left := datetime.fromtimestamp(self.tiers.wake(waiting), UTC) - self.now) > timedelta(0):
            self.pass_(min(left, timedelta(minutes=1)))
        return timedelta(seconds=self.seconds - began)


def waiting(written: datetime, due: datetime, tier: str = "5s", stored: datetime | None = None) -> Record:
    progress = Progress(1, 0, written, due, "the receiver answered 500", written)
    left = parked(record(b"{}"), f"callback.retry.{tier}", progress)
    return record(b"{}", topic=left.topic, headers=left.headers, timestamp=(stored or written).timestamp())


def test_it_waits_until_it_is_due() -> None:
    assert Clocks().out(waiting(NOW, NOW + timedelta(seconds=5.5))) == timedelta(seconds=5.5)


def test_who_writes_with_a_clock_that_is_two_hours_ahead_holds_nothing_up() -> None:
    ahead = NOW + timedelta(hours=2)
    left = waiting(ahead, ahead + timedelta(seconds=5.5))
    assert Clocks().out(left) == timedelta(seconds=5.5)
    assert by_our_clock(left, progress_of(left, NOW), NOW).due == NOW + timedelta(seconds=5.5)


def test_what_a_clock_two_hours_ahead_wrote_is_due_by_the_clock_of_the_broker_that_stored_it() -> None:
    ahead = NOW + timedelta(hours=2)
    left = waiting(ahead, ahead + timedelta(seconds=5.5), stored=NOW)
    assert Clocks().out(left) == timedelta(seconds=5.5)
    assert by_our_clock(left, progress_of(left, NOW), NOW).due == NOW + timedelta(seconds=5.5)


def test_of_those_that_were_stored_together_the_first_alone_is_waited_for() -> None:
    clocks = Clocks()
    far = NOW + timedelta(hours=1)
    heads = [waiting(far, far, stored=NOW)._replace(offset=offset) for offset in range(60)]
    assert sum((clocks.out(head) for head in heads), timedelta(0)) <= HELD


@pytest.mark.parametrize("written", [1e11, 2.4e11, 1e300, math.nan, math.inf, -1e11])
def test_a_time_that_none_can_have_written_changes_nothing(written: float) -> None:
    left = waiting(NOW, NOW + timedelta(seconds=5))._replace(timestamp=written)
    progress = progress_of(left, NOW)
    assert by_our_clock(left, progress, NOW) == progress


def test_nothing_was_first_seen_after_now() -> None:
    left = waiting(NOW + timedelta(days=900), NOW)
    assert by_our_clock(left, progress_of(left, NOW), NOW).first_seen == NOW


def test_a_clock_that_is_set_back_holds_nothing_up() -> None:
    clocks = Clocks()
    left = waiting(NOW, NOW + timedelta(seconds=5))
    assert clocks.tiers.wake(left) == (NOW + timedelta(seconds=5)).timestamp()
    clocks.now -= timedelta(hours=2)
    assert clocks.out(left) <= HELD


@given(
    st.timedeltas(-timedelta(days=3), timedelta(days=3)),
    st.timedeltas(-timedelta(days=3), timedelta(days=3)),
)
def test_whatever_a_record_says_it_holds_the_tier_no_longer_than_the_tier_may(
    written: timedelta, due: timedelta
) -> None:
    assert Clocks().out(waiting(NOW + written, NOW + due)) <= HELD


def test_what_is_in_no_tier_does_not_wait() -> None:
    assert Clocks().tiers.wake(record(b"{}", topic="task.results")) == 0.0
    assert Clocks().tiers.wake(record(b"{}", topic="callback.retry.5s", headers=(("callback_due", b"soon"),))) == 0.0
