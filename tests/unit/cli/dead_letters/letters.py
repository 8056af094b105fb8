"""Dead letters as they come from a broker."""

import json
from datetime import UTC, datetime

from callstream.contract.dead_letters import Reason, dead_letter
from callstream.contract.records import Headers, Record, TopicPartition
from callstream.contract.topics import Topics
from cli.dead_letters.letters import Letter, letter_of

TOPICS = Topics("blue.")
_OTHERS = ("red.data.requests", "data.requests", "callback.retry.5s", TOPICS.requests("removed"))
THERE = {TOPICS.results, TOPICS.requests("data"), TOPICS.attempts, *TOPICS.dead_letters, *_OTHERS}
NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
ORIGIN = TopicPartition(TOPICS.requests("data"), 2)


def result(task_id: str = "a", url: str = "https://hooks.example.com/in", task: str = "data") -> bytes:
    return json.dumps({"task_id": task_id, "task": task, "callback_url": url, "results": [], "errors": []}).encode()


def dead_result(
    value: bytes | None = None,
    *,
    reason: Reason = Reason.EXHAUSTED,
    headers: Headers = (("ce_id", b"a"),),
    offset: int = 7,
) -> Record:
    original = Record(TopicPartition(TOPICS.results, 1), 42, b"a", value or result(), headers, 0.0)
    return stored(original, TOPICS.callback_dead_letters, reason, offset)


def dead_request(
    value: bytes | None = b"{", *, headers: Headers = (), origin: TopicPartition = ORIGIN, offset: int = 7
) -> Record:
    original = Record(origin, 42, None, value, headers, 0.0)
    return stored(original, TOPICS.task_dead_letters, Reason.UNREADABLE, offset)


def stored(original: Record, topic: str, reason: Reason, offset: int) -> Record:
    letter = dead_letter(original, topic, reason, "why")
    return Record(TopicPartition(topic, 0), offset, letter.key, letter.value, letter.headers, NOW.timestamp())


def seen(record: Record) -> Letter:
    return letter_of(record, TOPICS)
