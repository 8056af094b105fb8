"""Which dead letters a replay is about to replay, and which it leaves."""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from operator import attrgetter
from typing import NamedTuple

from pydantic import ValidationError

from callstream.contract.dead_letters import opened
from callstream.contract.messages import CallbackAttempt, result_digest
from callstream.contract.records import Record
from callstream.contract.topics import Topics
from callstream.runtime.logs import get_logger
from cli.dead_letters.filters import Filters
from cli.dead_letters.letters import Letter, is_result, letter_of
from cli.dead_letters.places import Place
from cli.dead_letters.reading import Source
from cli.dead_letters.restoring import REPLAYED, Skip, homes, obstacle

log = get_logger()
DELIVERED = "delivered"
_SKEW = timedelta(hours=1)  # clocks of several machines wrote the times


class Candidate(NamedTuple):
    """A letter that was asked for; `digest` is that of a result on its way to a receiver, None for a request."""

    letter: Letter
    digest: str | None
    obstacle: Skip | None


class History(NamedTuple):
    """What became of tasks since: ids with the digests that were delivered, and ids with the places replayed.

    A digest is None where an attempt does not tell which of its task's results was delivered: then it may be any.
    """

    delivered: set[tuple[str, str | None]]
    replayed: set[tuple[str, str]]


class Plan(NamedTuple):
    """Which letters are replayed, and which are left, and why; the oldest first."""

    letters: list[Letter]
    left: list[tuple[Place, Skip]]


class Planner:
    """Plans for the install with these `topics` and installed task types."""

    def __init__(self, source: Source, topics: Topics, tasks: Iterable[str]) -> None:
        self._source = source
        self._topics = topics
        self._homes = homes(topics, tasks)

    async def plan(self, filters: Filters, now: datetime, limit: int | None) -> Plan:
        candidates = [
            candidate
            async for record in self._source.scan(filters.topics(self._topics), filters.since)
            if filters.match((candidate := self._candidate(record, now)).letter)
        ]
        candidates.sort(key=attrgetter("letter.at", "letter.place"))
        return selected(candidates, await self._history(candidates), limit)

    def _candidate(self, record: Record, now: datetime) -> Candidate:
        if record.gap is not None:
            return Candidate(letter_of(record, self._topics), None, Skip.DAMAGED)
        dead = opened(record)
        result = dead is not None and is_result(dead.original, self._topics)
        digest = result_digest(record.value or b"") if result else None
        skip = obstacle(dead, self._topics, self._homes, self._source.topics, now)
        return Candidate(letter_of(record, self._topics), digest, skip)

    async def _history(self, candidates: Collection[Candidate]) -> History:
        history = History(set(), set())
        told = [candidate.letter for candidate in candidates if candidate.letter.task_id]
        if not told:  # as of what could not be decoded
            return history
        keys = {letter.task_id.encode() for letter in told}
        since = min(letter.at for letter in told) - _SKEW
        async for record in self._source.scan([self._topics.attempts], since):
            if record.gap is not None:
                where = str(Place.of(record))
                log.warning("attempts.damaged", place=where, until=record.gap.until, why=record.gap.why)
            elif record.key in keys:
                remember(history, record)
        return history


def selected(candidates: Collection[Candidate], history: History, limit: int | None) -> Plan:
    """Return the first letters, `limit` at most, that a replay can help, and why those before the last were left."""
    plan = Plan([], [])
    for candidate in candidates:
        if len(plan.letters) == limit:
            break
        if (skip := _skip(candidate, history)) is not None:
            plan.left.append((candidate.letter.place, skip))
        else:
            plan.letters.append(candidate.letter)
    return plan


def _skip(candidate: Candidate, history: History) -> Skip | None:
    task_id, digest = candidate.letter.task_id, candidate.digest
    # A request that failed was told to its receiver, too: of a request, a delivery does not say that it was processed.
    # And of its result not that this one arrived: what was delivered may have been the failure of the try before.
    if digest is not None and not history.delivered.isdisjoint({(task_id, digest), (task_id, None)}):
        return Skip.DELIVERED
    if (task_id, str(candidate.letter.place)) in history.replayed:
        return Skip.REPLAYED
    return candidate.obstacle


def remember(history: History, record: Record) -> None:
    try:
        attempt = CallbackAttempt.model_validate_json(record.value or b"")
    except ValidationError:
        return
    if attempt.outcome == DELIVERED:
        history.delivered.add((attempt.task_id, attempt.result_digest))
    elif attempt.outcome == REPLAYED and attempt.dead_letter is not None:
        history.replayed.add((attempt.task_id, attempt.dead_letter))
