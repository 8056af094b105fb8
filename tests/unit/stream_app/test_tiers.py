"""A record in a tier waits until it is due, and never holds up the others for longer than its tier may."""

import heapq
import itertools
import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callstream.contract.records import Record
from callstream.contract.retries import Progress, parked
from callstream.contract.topics import Topics
from stream_app.policy import Policy
from stream_app.tiers import Tiers
from tests.unit.records import record

NOW = datetime(2026, 1, 1, tzinfo=UTC)
POLICY = Policy([timedelta(seconds=5), timedelta(seconds=30), timedelta(minutes=5)], timedelta(hours=6))
HELD = timedelta(seconds=5 * 1.2 + 5)  # what the tier of 5 s may hold those behind


class Reader:
    """A reader of tiers with its two clocks: one may be set, the other only goes on. It knows of a log up to `end`."""

    def __init__(self, end: int | None = None) -> None:
        self.now = NOW
        self.seconds = 1_000.0
        self.end = end
        self.tiers = Tiers(Topics(), POLICY, lambda _: self.end, lambda: self.now, lambda: self.seconds)

    def pass_(self, time: timedelta) -> None:
        self.now += time
        self.seconds += time.total_seconds()

    def out(self, waiting: Record) -> timedelta:
        """Return for how long the record waits, looked at every minute at least, as the workload does."""
        began = self.seconds
        while (left := datetime.fromtimestamp(self.tiers.wake(waiting), UTC) - self.now) > timedelta(0):
            self.pass_(min(left, timedelta(minutes=1)))
        return timedelta(seconds=self.seconds - began)

    def due(self, record: Record) -> datetime:
        return self.tiers.progress(record, self.now).due


def waiting(written: datetime, due: datetime, tier: str = "5s", offset: int = 0) -> Record:
    progress = Progress(1, 0, written, due, "the receiver answered 500", written)
    left = parked(record(b"{}"), f"callback.retry.{tier}", progress)
    return record(b"{}", topic=left.topic, headers=left.headers, timestamp=written.timestamp())._replace(offset=offset)


@pytest.mark.parametrize("off", [-7_200, -10, -1, 0, 1, 10, 7_200, 1e11, 2.4e11, 1e300, math.nan, math.inf, -1e11])
def test_it_waits_until_it_is_due_whatever_the_clock_of_the_broker_says(off: float) -> None:
    reader, left = Reader(), waiting(NOW, NOW + timedelta(seconds=5.5))
    left = left._replace(timestamp=left.timestamp + off)
    assert reader.out(left) == timedelta(seconds=5.5)
    assert reader.due(left) == reader.now


@pytest.mark.parametrize("ahead", [2, 5, 10, 7_200, 1e9])
@pytest.mark.parametrize("delay", [5.5, 25, 1e6])
def test_what_a_clock_that_is_ahead_wrote_holds_nothing_and_has_its_delay_by_ours(ahead: float, delay: float) -> None:
    reader, by_theirs = Reader(), NOW + timedelta(seconds=ahead)
    left = waiting(by_theirs, by_theirs + timedelta(seconds=delay))
    assert reader.out(left) == timedelta(0)
    assert reader.due(left) == NOW + timedelta(seconds=delay)


@pytest.mark.parametrize("ahead", [0, 0.9, 3, 10, 30])
@pytest.mark.parametrize("seconds", [5.5, 9], ids=["the tier's own delay", "one that the receiver asked for"])
def test_in_a_stream_by_a_clock_that_is_ahead_none_comes_early_and_none_goes_round(
    ahead: float, seconds: float
) -> None:
    reader, delay, theirs = Reader(), timedelta(seconds=seconds), timedelta(seconds=ahead)
    came = [NOW + timedelta(seconds=number / 10) for number in range(600)]
    log = [(at, number, at + theirs, at + theirs + delay) for number, at in enumerate(came)]  # a heap
    asked = []
    for offset in itertools.count():
        at, number, written, due = heapq.heappop(log)
        reader.pass_(max(at - reader.now, timedelta(0)))
        reader.end = offset + 1 + sum(later[0] <= reader.now for later in log)
        left = waiting(written, due, offset=offset)
        reader.out(left)
        if (due := reader.due(left)) <= reader.now:
            asked.append(reader.now - came[number])
        else:
            heapq.heappush(log, (reader.now, number, reader.now, due))
        if not log:
            break
    assert min(asked) >= delay
    assert max(asked) <= 2 * HELD + delay


def test_of_those_that_were_there_together_the_first_alone_is_waited_for() -> None:
    reader, far = Reader(end=60), NOW + timedelta(hours=1)
    heads = [waiting(NOW + timedelta(seconds=6 * offset), far, offset=offset) for offset in range(60)]
    assert sum((reader.out(head) for head in heads), timedelta(0)) <= HELD


def test_a_reader_that_begins_anew_does_not_wait_anew() -> None:
    """Such as at each deployment, more often than the tier's delay."""
    head, now = waiting(NOW, NOW + timedelta(days=300), tier="5m"), NOW
    while now < NOW + timedelta(minutes=6):
        reader = Reader()
        reader.now = now
        assert datetime.fromtimestamp(reader.tiers.wake(head), UTC) == NOW + timedelta(minutes=6)
        now += timedelta(minutes=2)


def test_what_does_not_say_when_it_was_parked_holds_nothing() -> None:
    headers = parked(record(b"{}"), "callback.retry.5s", Progress(1, 0, NOW, NOW + timedelta(seconds=5), "x")).headers
    left = record(b"{}", topic="callback.retry.5s", headers=headers)
    assert Reader().out(left) == timedelta(0)
    assert Reader().due(left) == NOW + timedelta(seconds=5)


def test_what_waits_in_a_tier_of_an_earlier_schedule_keeps_its_due_time() -> None:
    left = waiting(NOW, NOW + timedelta(minutes=30), tier="30m")
    assert Reader().out(left) == timedelta(0)
    assert Reader().due(left) == NOW + timedelta(minutes=30)


def test_of_those_that_come_one_after_another_none_is_waited_for_again_that_came_meanwhile() -> None:
    """As it is with a partition that is held: its end is not known until it goes on."""
    reader, far = Reader(), NOW + timedelta(hours=1)
    began, waits = reader.seconds, list[timedelta]()
    for offset in range(600):
        if reader.end is None or reader.end <= offset:  # it is fetched again; two have come each second
            reader.end = offset + 1 + int(2 * (reader.seconds - began))
        waits.append(reader.out(waiting(reader.now, far, offset=offset)))
    honest = [sum(waits[first : first + 20], timedelta(0)) for first in range(0, 600, 20)]
    assert max(honest) <= 2 * HELD


@pytest.mark.parametrize("offset", [0, 7])
def test_a_log_that_was_made_anew_is_not_taken_for_the_one_before(offset: int) -> None:
    reader = Reader(end=60)
    reader.out(waiting(NOW, NOW + timedelta(seconds=5), offset=7))
    reader.pass_(timedelta(hours=1))
    reader.end = offset + 1
    anew = waiting(reader.now, reader.now + timedelta(seconds=5), offset=offset)
    assert reader.out(anew) == timedelta(seconds=5)


def test_nothing_was_first_seen_after_now() -> None:
    reader = Reader()
    assert reader.tiers.progress(waiting(NOW + timedelta(days=900), NOW), NOW).first_seen == NOW


def test_a_clock_that_is_set_back_holds_nothing_up() -> None:
    reader = Reader()
    left = waiting(NOW, NOW + timedelta(seconds=5))
    assert reader.tiers.wake(left) == (NOW + timedelta(seconds=5)).timestamp()
    reader.now -= timedelta(hours=2)
    assert reader.out(left) == timedelta(0)
    assert reader.due(left) == reader.now + timedelta(seconds=5)


@given(
    st.timedeltas(-timedelta(days=3), timedelta(days=3)),
    st.timedeltas(-timedelta(days=3), timedelta(days=3)),
)
def test_whatever_a_record_says_it_holds_the_tier_no_longer_than_the_tier_may(
    written: timedelta, due: timedelta
) -> None:
    assert Reader().out(waiting(NOW + written, NOW + due)) <= HELD


def test_what_is_in_no_tier_does_not_wait() -> None:
    assert Reader().tiers.wake(record(b"{}", topic="task.results")) == 0.0
    assert Reader().tiers.wake(record(b"{}", topic="callback.retry.5s", headers=(("callback_due", b"soon"),))) == 0.0
