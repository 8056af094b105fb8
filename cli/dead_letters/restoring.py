"""What a replay produces: the original record as if nothing had happened to it, and the note that it did so."""

from collections.abc import Collection, Iterable
from datetime import datetime
from enum import StrEnum

from callstream.contract.dead_letters import DeadLetter, Reason
from callstream.contract.headers import HeaderError, event_headers
from callstream.contract.ids import derived_task_id
from callstream.contract.messages import CallbackAttempt
from callstream.contract.records import OutgoingRecord, Record
from callstream.contract.retries import deadline_of, without_progress
from callstream.contract.sizes import cut
from callstream.contract.topics import Topics
from cli.dead_letters.letters import Letter, is_result

REPLAYED = "replayed"


class Skip(StrEnum):
    """Why a dead letter is not replayed."""

    DELIVERED = "delivered meanwhile"
    REPLAYED = "replayed before"
    EXPIRED = "past its callback_deadline"
    CUT = "incomplete, as all of it would not have fitted"
    EMPTY = "without a value"
    DAMAGED = "no record, but bytes that could not be decoded"
    FOREIGN = "not written by Callstream"
    UNREAD = "of a topic that no task type installed here reads"
    HOMELESS = "of a topic that is missing"
    TOO_LARGE = "too large for its topic"
    GONE = "gone meanwhile"


def homes(topics: Topics, tasks: Iterable[str]) -> frozenset[str]:
    """Return the topics that a replay may write to: those that an install with these task types reads.

    Where a dead letter came from is told by its headers, which whoever may write to its topic can choose.
    """
    return frozenset({topics.results, *map(topics.requests, tasks)})


def obstacle(
    dead: DeadLetter | None, topics: Topics, homes: Collection[str], there: Collection[str], now: datetime
) -> Skip | None:
    """Return what stands in the way of a replay for good; `there` are the topics of the cluster."""
    if dead is None:
        return Skip.FOREIGN
    if dead.cut or dead.original.value is None:
        return Skip.CUT if dead.cut else Skip.EMPTY
    if dead.reason == Reason.DAMAGED:
        return Skip.DAMAGED
    if (home := _destination(dead, topics)) not in homes:
        return Skip.UNREAD
    if home not in there:
        return Skip.HOMELESS
    return Skip.EXPIRED if _expired(dead.original, now) else None


def restored(dead: DeadLetter, topics: Topics) -> OutgoingRecord:
    """Return the original record, to be delivered from its first attempt or processed under the id that it had."""
    original = dead.original
    headers = original.headers
    if is_result(original, topics):
        headers = without_progress(headers)
    elif not any(name == "ce_id" for name, _ in headers):
        headers = (*headers, ("ce_id", derived_task_id(original).encode()))  # its new place would give another
    return OutgoingRecord(_destination(dead, topics), original.key, original.value, headers)


def note(letter: Letter, topics: Topics, now: datetime) -> OutgoingRecord:
    """Return what tells the next replay, and whoever reads the attempts, that this one was made."""
    attempt = CallbackAttempt(
        task_id=letter.task_id,
        number=0,
        receiver=letter.receiver,
        outcome=REPLAYED,
        status=None,
        detail=cut(f"{letter.reason}: {letter.error}"),
        started=now,
        duration_ms=0,
        next_due=None,
        dead_letter=str(letter.place),
    )
    headers = event_headers(letter.task_id, "callback.replayed", "dead-letters")
    return OutgoingRecord(topics.attempts, letter.task_id.encode(), attempt.model_dump_json().encode(), headers)


def _destination(dead: DeadLetter, topics: Topics) -> str:
    return topics.results if is_result(dead.original, topics) else dead.original.partition.topic


def _expired(original: Record, now: datetime) -> bool:
    try:
        deadline = deadline_of(original.headers)
    except HeaderError:
        return False  # whoever reads it next says so
    return deadline is not None and deadline < now
