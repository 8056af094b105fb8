"""A dead letter as an operator sees it: what it is about, and why it went no further."""

from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from callstream.contract.dead_letters import DeadLetter, Reason, opened
from callstream.contract.headers import readable_task_id
from callstream.contract.messages import CALLBACK_URL_LIMIT
from callstream.contract.receivers import receiver_of
from callstream.contract.records import Gap, Record
from callstream.contract.sizes import cut
from callstream.contract.topics import Topics
from cli.dead_letters.places import Place

_ERROR_LIMIT = 4_096  # characters kept of an error: no dead letter of ours has more
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _Fields(msgspec.Struct):
    task_id: msgspec.Raw = msgspec.Raw()
    task: msgspec.Raw = msgspec.Raw()
    callback_url: msgspec.Raw = msgspec.Raw()


_decoder = msgspec.json.Decoder(_Fields)


class Letter(NamedTuple):
    """What is known of a dead letter without its value; a text is empty where the record does not tell.

    Texts are cut: whoever may write to the topic chooses them, and what is noted of a replay has to fit its topic.
    """

    place: Place
    at: datetime
    task_id: str
    task: str
    receiver: str
    reason: str
    error: str


def letter_of(record: Record, topics: Topics) -> Letter:
    """Sum up a record of a dead-letter topic; it need not be readable, nor ours, nor a record."""
    if record.gap is not None:
        return _damaged(record, record.gap)
    dead = opened(record)
    fields = _fields(record.value)
    return Letter(
        place=Place.of(record),
        at=_time(record.timestamp),
        task_id=_task_id(dead.original if dead else record, fields, topics),
        task=cut(_text(fields.task)) or _type(dead, topics),
        receiver=_receiver(_text(fields.callback_url)),
        reason=cut(dead.reason) if dead else "",
        error=cut(dead.error, _ERROR_LIMIT) if dead else "not written by Callstream",
    )


def _damaged(record: Record, gap: Gap) -> Letter:
    """Sum up what stands in the topic and cannot be decoded; of what time it is, it cannot tell."""
    error = f"offsets {gap.first} to {gap.until - 1} cannot be read: {gap.why}"
    return Letter(Place.of(record), _EPOCH, "", "", "", Reason.DAMAGED, cut(error, _ERROR_LIMIT))


def is_result(original: Record, topics: Topics) -> bool:
    """Return whether a dead letter was a result, on its way to a receiver, and not a request."""
    topic = original.partition.topic
    return topic == topics.results or topics.is_retry(topic)


def _task_id(original: Record, fields: _Fields, topics: Topics) -> str:
    if is_result(original, topics) and (told := _text(fields.task_id)):
        return cut(told)
    return readable_task_id(original)


def _type(dead: DeadLetter | None, topics: Topics) -> str:
    if dead is None:
        return ""
    before, _, after = topics.requests("\n").partition("\n")
    topic = dead.original.partition.topic
    matches = topic.startswith(before) and topic.endswith(after)
    return topic.removeprefix(before).removesuffix(after) if matches else ""


def _receiver(url: str) -> str:
    try:
        return receiver_of(url) if len(url) <= CALLBACK_URL_LIMIT else ""
    except ValueError:
        return ""


def _fields(value: bytes | None) -> _Fields:
    """Return what a value says, of which nothing else is built: it may have 8 MiB, and take forty times that."""
    try:
        return _decoder.decode(value or b"")
    except (ValueError, RecursionError):  # NaN as well: what holds that is shown without
        return _Fields()


def _text(found: msgspec.Raw) -> str:
    try:
        return msgspec.json.decode(found, type=str)
    except ValueError:
        return ""


def _time(timestamp: float) -> datetime:
    """Return when a record was stored; some producers set a time that no calendar has."""
    try:
        return datetime.fromtimestamp(timestamp, UTC)
    except (OverflowError, ValueError, OSError):
        return _EPOCH
