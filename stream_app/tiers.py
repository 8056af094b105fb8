"""The tiers in which results wait, as one reader sees them: by its own clock, whatever a record says."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from callstream.contract.headers import HeaderError
from callstream.contract.records import Record, TopicPartition
from callstream.contract.retries import Progress, progress_of
from callstream.contract.topics import Topics
from stream_app.policy import Policy


class _Head(NamedTuple):
    """The record of a partition that was looked at last, by its place, and when that was first, by both clocks."""

    place: tuple[int, float]
    seen: datetime
    since: float


class Tiers:
    """One topic for each delay; `clock` gives the time with UTC, `monotonic` seconds that no one sets."""

    def __init__(
        self, topics: Topics, policy: Policy, clock: Callable[[], datetime], monotonic: Callable[[], float]
    ) -> None:
        self._tiers = {topics.retry(tier): tier for tier in policy.tiers}
        self._policy = policy
        self._clock = clock
        self._monotonic = monotonic
        self._heads: dict[TopicPartition, _Head] = {}

    @property
    def topics(self) -> list[str]:
        return list(self._tiers)

    def wake(self, record: Record) -> float:
        """Return when the record is to be processed, in seconds since the epoch: one in a tier has to wait.

        It never holds those behind it for longer than its tier may, since it was first looked at. Records have the time
        of the broker there, so of those that came together the first alone is waited for.
        """
        tier = self._tiers.get(record.partition.topic)
        if tier is None:
            return 0.0
        now = self._clock()
        try:
            progress = progress_of(record, now)
            stored = datetime.fromtimestamp(record.timestamp, UTC)
            head = self._head(record, now)
            ahead = _ahead(stored, head.seen)
            woken = self._policy.wake(tier, stored - ahead, _due(progress, stored) - ahead)
        except (HeaderError, ValueError, OverflowError, OSError):
            return 0.0  # the agent says what is wrong with it
        left = self._policy.longest_held(tier) - timedelta(seconds=self._monotonic() - head.since)
        return min(woken, now + max(left, timedelta(0))).timestamp()

    def _head(self, record: Record, now: datetime) -> _Head:
        head = self._heads.get(record.partition)
        place = record.offset, record.timestamp  # a topic that is made anew has the same offsets again
        if head is None or head.place != place:
            head = self._heads[record.partition] = _Head(place, now, self._monotonic())
        return head


def by_our_clock(record: Record, progress: Progress, now: datetime) -> Progress:
    """Return `progress` without what the clocks of who wrote it, and of the broker, were ahead of ours."""
    try:
        stored = datetime.fromtimestamp(record.timestamp, UTC)
        due = _due(progress, stored) - _ahead(stored, now)
    except (ValueError, OverflowError, OSError):  # a time that is none, or none that could be
        due = progress.due
    return progress._replace(first_seen=min(progress.first_seen, now), due=due)


def _due(progress: Progress, stored: datetime) -> datetime:
    """Return when the record is due by the clock of the broker, which stored it after it was written."""
    return progress.due - (timedelta(0) if progress.parked is None else _ahead(progress.parked, stored))


def _ahead(written: datetime, now: datetime) -> timedelta:
    return max(written - now, timedelta(0))
