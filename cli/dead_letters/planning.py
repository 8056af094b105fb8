"""Which dead letters a replay is about to replay, and which it leaves."""

from collections import Counter
from collections.abc import Collection
from datetime import datetime, timedelta
from operator import attrgetter
from typing import NamedTuple

from pydantic import ValidationError

from callstream.contract.dead_letters import opened
from callstream.contract.messages import CallbackAttempt
from callstream.contract.records import Record
from callstream.contract.topics import Topics
from cli.dead_letters.filters import Filters
from cli.dead_letters.letters import Letter, is_result, letter_of
from cli.dead_letters.reading import Source
from cli.dead_letters.restoring import REPLAYED, Skip, obstacle

DELIVERED = "delivered"
_SKEW = timedelta(hours=1)  # clocks of several machines wrote the times


class Candidate(NamedTuple):
    """A letter that was asked for; `result`: it was on its way to a receiver."""

    letter: Letter
    result: bool
    obstacle: Skip | None


class History(NamedTuple):
    """What became of tasks since: the ids of those delivered, and ids with the places that were replayed."""

    delivered: set[str]
    replayed: set[tuple[str, str]]


class Plan(NamedTuple):
    letters: list[Letter]
    skipped: Counter[Skip]


async def planned(source: Source, topics: Topics, filters: Filters, now: datetime, limit: int | None) -> Plan:
    candidates = [
        candidate
        async for record in source.scan(filters.topics(topics), filters.since)
        if filters.match((candidate := _candidate(record, source, topics, now)).letter)
    ]
    candidates.sort(key=attrgetter("letter.at", "letter.place"))
    return selected(candidates, await _history(source, topics, candidates), limit)


def selected(candidates: Collection[Candidate], history: History, limit: int | None) -> Plan:
    """Return the first letters, `limit` at most, that a replay can help, and why those before the last were left."""
    plan = Plan([], Counter())
    for candidate in candidates:
        if len(plan.letters) == limit:
            break
        if (skip := _skip(candidate, history)) is not None:
            plan.skipped[skip] += 1
        else:
            plan.letters.append(candidate.letter)
    return plan


def _skip(candidate: Candidate, history: History) -> Skip | None:
    task_id = candidate.letter.task_id
    # A request that failed was told to its receiver, too: of a request, a delivery does not say that it was processed.
    if candidate.result and task_id in history.delivered:
        return Skip.DELIVERED
    if (task_id, str(candidate.letter.place)) in history.replayed:
        return Skip.REPLAYED
    return candidate.obstacle


async def _history(source: Source, topics: Topics, candidates: Collection[Candidate]) -> History:
    history = History(set(), set())
    if not candidates:
        return history
    keys = {candidate.letter.task_id.encode() for candidate in candidates}
    since = min(candidate.letter.at for candidate in candidates) - _SKEW
    async for record in source.scan([topics.attempts], since):
        if record.key in keys:
            remember(history, record)
    return history


def remember(history: History, record: Record) -> None:
    try:
        attempt = CallbackAttempt.model_validate_json(record.value or b"")
    except ValidationError:
        return
    if attempt.outcome == DELIVERED:
        history.delivered.add(attempt.task_id)
    elif attempt.outcome == REPLAYED and attempt.dead_letter is not None:
        history.replayed.add((attempt.task_id, attempt.dead_letter))


def _candidate(record: Record, source: Source, topics: Topics, now: datetime) -> Candidate:
    dead = opened(record)
    result = dead is not None and is_result(dead.original, topics)
    return Candidate(letter_of(record, topics), result, obstacle(dead, topics, source.topics, now))
