"""The tiers in which results wait, as one reader sees them: by its own clocks, whatever a record says.

Docs: docs/decisions/0016-what-waits-for-a-receiver-looks-every-half-minute.md.
"""

from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

from callstream.contract.headers import HeaderError
from callstream.contract.records import Record, TopicPartition
from callstream.contract.retries import Progress, progress_of
from callstream.contract.topics import Topics
from stream_app.policy import Policy

_IN_STEP = timedelta(seconds=1)  # what clocks may differ by that are kept in step
_MARKS = 100  # of a partition, for what its tier holds

Ends = Callable[[TopicPartition], int | None]


class _Mark(NamedTuple):
    """What is before the offset `end` was in the log at the monotonic time `at`."""

    end: int
    at: float


class _Head(NamedTuple):
    """The record of a partition that was looked at last, by its place.

    The first of the `marks` is of the time from which on it is known to be in the log.
    """

    place: tuple[int, float]
    marks: deque[_Mark]


class Tiers:
    """One topic for each delay.

    `ends` gives the offset at which a partition's log was last seen to end, None where that is not known; `clock` gives
    the time with UTC, `monotonic` seconds that no one sets.
    """

    def __init__(
        self,
        topics: Topics,
        policy: Policy,
        ends: Ends,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> None:
        self._tiers = {topics.retry(tier): tier for tier in policy.tiers}
        self._policy = policy
        self._ends = ends
        self._clock = clock
        self._monotonic = monotonic
        self._heads: dict[TopicPartition, _Head] = {}

    @property
    def topics(self) -> list[str]:
        return list(self._tiers)

    def wake(self, record: Record) -> float:
        """Return when the record is to be processed, in seconds since the epoch: one in a tier has to wait.

        It never holds those behind it for longer than its tier may, since it was parked, and since it was known to be
        in the log. So of those that were there together the first alone is waited for, whatever they say; and what a
        clock wrote that is ahead holds nothing: it comes out at once, and is written again by ours.
        """
        tier = self._tiers.get(record.partition.topic)
        if tier is None:
            return 0.0
        now = self._clock()
        try:
            progress = progress_of(record, now)
        except HeaderError:
            return 0.0  # the agent says what is wrong with it
        if progress.parked is None or _is_ahead(progress.parked, now):
            return 0.0
        at = self._monotonic()
        known = timedelta(seconds=at - self._look_at(record, tier, at).marks[0].at)
        return self._policy.wake(tier, min(progress.parked, now - known), progress.due).timestamp()

    def progress(self, record: Record, now: datetime) -> Progress:
        """Return how far a record is that came out of its tier, by our clock.

        Raises:
            HeaderError: its headers are not as `parked` writes them.
        """
        progress = progress_of(record, now)
        tier = self._tiers.get(record.partition.topic)
        due = progress.due
        if progress.parked is not None:
            delay = due - progress.parked
            if _is_ahead(progress.parked, now):
                due = now + delay
            elif tier is not None and delay <= self._policy.longest_delay(tier):
                due = min(due, now)  # its tier has held it for as long, whatever the clocks say by now
        return progress._replace(first_seen=min(progress.first_seen, now), due=due)

    def _look_at(self, record: Record, tier: timedelta, at: float) -> _Head:
        """Return the head of the record's partition, which it is."""
        before = self._heads.get(record.partition)
        place = record.offset, record.timestamp  # a topic that is made anew has the same offsets again
        if before is not None and before.place == place:
            return before
        end = self._ends(record.partition) or record.offset + 1
        marks = before.marks if before is not None and before.place[0] < record.offset else deque[_Mark]()
        if marks and end < marks[-1].end:  # it is another log
            marks.clear()
        while marks and marks[0].end <= record.offset:
            marks.popleft()
        if not marks or (end > marks[-1].end and at - marks[-1].at > tier.total_seconds() / _MARKS):
            marks.append(_Mark(end, at))
        head = self._heads[record.partition] = _Head(place, marks)
        return head


def _is_ahead(parked: datetime, now: datetime) -> bool:
    return parked > now + _IN_STEP
