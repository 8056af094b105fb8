"""Which dead letters a replay is about to replay, and which it leaves.

There may be more letters, and more attempts, than memory holds. So a plan is made for a page of letters at a time: of
each letter its place and some digests are kept, and of the attempts what tells that one of these is done.
"""

from collections.abc import AsyncIterator, Collection, Iterable
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import NamedTuple, Self

from pydantic import ValidationError

from callstream.contract.dead_letters import opened
from callstream.contract.messages import CallbackAttempt, result_digest
from callstream.contract.records import Record
from callstream.contract.sizes import ATTEMPT
from callstream.contract.topics import Topics
from callstream.runtime.logs import get_logger
from cli.dead_letters.filters import Filters
from cli.dead_letters.letters import Letter, is_result, letter_of
from cli.dead_letters.ordering import Ordered
from cli.dead_letters.places import Place
from cli.dead_letters.reading import Source
from cli.dead_letters.restoring import REPLAYED, Skip, homes, obstacle

log = get_logger()
DELIVERED = "delivered"
_SKEW = timedelta(hours=1)  # clocks of several machines wrote the times
_PAGE = 20_000  # letters of a plan, of about 1 KiB of memory each; every page reads the attempts since its first letter


class Candidate(NamedTuple):
    """A letter that was asked for, of which as much is kept as a plan needs: digests, whatever the length of its texts.

    `task` is that of its task's key, None where its task cannot be told. `deliveries` are those of the attempts that
    delivered it, none for a request, and `replay` that of the note of its replay.
    """

    at: datetime
    place: Place
    task: bytes | None
    deliveries: tuple[bytes, ...]
    replay: bytes
    obstacle: Skip | None

    @classmethod
    def of(cls, letter: Letter, result: str | None, skip: Skip | None) -> Self:
        """Sum up a letter; `result` is the digest of a result on its way to a receiver, None for a request."""
        # A request that failed was told to its receiver, too: of a request, a delivery does not say that it was
        # processed. And of its result not that this one arrived: what was delivered may have been the failure of the
        # try before. An attempt that does not tell which of its task's results was delivered may be of any.
        told = () if result is None else (delivery(letter.task_id, result), delivery(letter.task_id, None))
        task = _digest(letter.task_id.encode()) if letter.task_id else None
        return cls(letter.at, letter.place, task, told, replay_of(letter.task_id, str(letter.place)), skip)


class Plan(NamedTuple):
    """Which letters are replayed, and which are left, and why; the oldest first."""

    places: list[Place]
    left: list[tuple[Place, Skip]]


class Planner:
    """Plans for the install with these `topics` and installed task types."""

    def __init__(self, source: Source, topics: Topics, tasks: Iterable[str]) -> None:
        self._source = source
        self._topics = topics
        self._homes = homes(topics, tasks)

    async def plans(self, filters: Filters, now: datetime, limit: int | None) -> AsyncIterator[Plan]:
        """Yield plans for what is there at this moment, until `limit` letters are planned.

        Each looks for what became of its letters when it is made, and the source is free until the next one is.
        """

        def view(record: Record) -> Candidate | None:
            letter = letter_of(record, self._topics)
            return self._candidate(letter, record, now) if filters.match(letter) else None

        spans = await self._source.spans(filters.topics(self._topics), filters.since)
        async for page in Ordered(self._source, spans, view).pages(_PAGE):
            plan = selected(page, await self._history(page), limit)
            yield plan
            if limit is not None and (limit := limit - len(plan.places)) == 0:
                return

    def _candidate(self, letter: Letter, record: Record, now: datetime) -> Candidate:
        if record.gap is not None:
            return Candidate.of(letter, None, Skip.DAMAGED)
        dead = opened(record)
        result = dead is not None and is_result(dead.original, self._topics)
        digest = result_digest(record.value or b"") if result else None
        return Candidate.of(letter, digest, obstacle(dead, self._topics, self._homes, self._source.topics, now))

    async def _history(self, page: Collection[Candidate]) -> set[bytes]:
        """Return what became of the page's letters since, of what their `deliveries` and `replay` ask for."""
        history: set[bytes] = set()
        # What is not ours never was replayed: who writes such records by the million makes nobody read the attempts.
        asking = [each for each in page if each.task is not None and each.obstacle is not Skip.FOREIGN]
        if not asking:
            return history
        tasks = {each.task for each in asking}
        asked = {digest for each in asking for digest in (*each.deliveries, each.replay)}
        spans = await self._source.spans([self._topics.attempts], min(each.at for each in asking) - _SKEW)
        async for record in self._source.read(spans):
            if record.gap is not None:
                where = str(Place.of(record))
                log.warning("attempts.damaged", place=where, until=record.gap.until, why=record.gap.why)
            elif _digest(record.key or b"") in tasks and (told := told_by(record)) in asked:
                history.add(told)
        return history


def selected(candidates: Collection[Candidate], history: AbstractSet[bytes], limit: int | None) -> Plan:
    """Return the first letters, `limit` at most, that a replay can help, and why those before the last were left."""
    plan = Plan([], [])
    for candidate in candidates:
        if len(plan.places) == limit:
            break
        if (skip := _skip(candidate, history)) is not None:
            plan.left.append((candidate.place, skip))
        else:
            plan.places.append(candidate.place)
    return plan


def _skip(candidate: Candidate, history: AbstractSet[bytes]) -> Skip | None:
    if not history.isdisjoint(candidate.deliveries):
        return Skip.DELIVERED
    return Skip.REPLAYED if candidate.replay in history else candidate.obstacle


def told_by(record: Record) -> bytes | None:
    """Return the digest of what an attempt tells: a delivery, or a replay; None if it is neither."""
    value = record.value or b""
    if len(value) > ATTEMPT:  # none of ours, and no matter how long it takes to read
        return None
    try:
        attempt = CallbackAttempt.model_validate_json(value)
    except ValidationError:
        return None
    if attempt.outcome == DELIVERED:
        return delivery(attempt.task_id, attempt.result_digest)
    if attempt.outcome == REPLAYED and attempt.dead_letter is not None:
        return replay_of(attempt.task_id, attempt.dead_letter)
    return None


def delivery(task_id: str, result: str | None) -> bytes:
    """Return the digest of the delivery of a result, or, where `result` is None, of one that nobody can tell."""
    return _digest(repr((task_id, result)).encode())


def replay_of(task_id: str, place: str) -> bytes:
    """Return the digest of the replay of the dead letter at a place."""
    return _digest(repr((REPLAYED, task_id, place)).encode())


def _digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=16).digest()
