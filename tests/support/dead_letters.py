"""An install of a test's own, with dead letters in its topics."""

import json
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aiokafka import AIOKafkaProducer, ConsumerRecord

from callstream.contract.dead_letters import Reason, dead_letter
from callstream.contract.messages import CallbackAttempt, result_digest
from callstream.contract.records import Headers, OutgoingRecord, Record, TopicPartition
from callstream.contract.retries import Progress, parked
from callstream.contract.topics import Topics
from tests.support.processes import Service, run_to_end
from tests.support.topics import content

NOW = datetime.now(UTC).replace(microsecond=0)  # a record's time is in milliseconds
JUNK = bytes(range(256))
_PARTITIONS = 3


@dataclass
class Install:
    """The topics of the test's own install, and our command on them."""

    topics: Topics
    env: dict[str, str]
    directory: Path
    bootstrap: str

    async def __call__(self, *command: str) -> tuple[int, str]:
        """Run `callstream dead-letters`; return the exit code and what was printed."""
        return await run_to_end("dead-letters", *command, env=self.env, directory=self.directory)

    def begin(self, *command: str) -> Service:
        return Service("dead-letters", *command, env=self.env, directory=self.directory)

    async def listed(self, *options: str) -> list[dict[str, str]]:
        exit_code, output = await self("list", "--json", *options)
        assert exit_code == 0, output
        return [json.loads(line) for line in output.splitlines()]

    async def produce(self, *records: OutgoingRecord, at: datetime | None = None) -> None:
        most = 8 * 2**20  # bytes: as large as a dead letter may be
        async with AIOKafkaProducer(bootstrap_servers=self.bootstrap, acks="all", max_request_size=most) as producer:
            for record in records:
                await producer.send_and_wait(
                    record.topic,
                    record.value,
                    record.key,
                    headers=list(record.headers),
                    timestamp_ms=at and round(at.timestamp() * 1000),
                )

    async def content(self, *topics: str) -> list[ConsumerRecord]:
        """Return all records of these topics."""
        return await content(self.bootstrap, *topics)

    async def results(self) -> Counter[bytes]:
        """Return how often each key stands among the results."""
        return Counter(record.key for record in await self.content(self.topics.results))


async def installed(directory: Path, bootstrap: str, prefix: str) -> Install:
    env = {
        "CALLSTREAM_KAFKA__BOOTSTRAP": bootstrap,
        "CALLSTREAM_TOPICS__PREFIX": prefix,
        "CALLSTREAM_TOPICS__PARTITIONS": str(_PARTITIONS),
    }
    exit_code, output = await run_to_end("topics", env=env, directory=directory)
    assert exit_code == 0, output
    return Install(Topics(prefix), env, directory, bootstrap)


def dead_result(  # noqa: PLR0913 - what the filters tell apart
    topics: Topics,
    task_id: str,
    *,
    receiver: str = "https://hooks.example.com",
    task: str = "data",
    reason: Reason = Reason.EXHAUSTED,
    headers: Headers = (),
    results: list[object] | None = None,
) -> OutgoingRecord:
    """Return a result that has gone through a tier and is a dead letter."""
    fields = {"task_id": task_id, "task": task, "callback_url": f"{receiver}/in", "results": results or []}
    value = json.dumps(fields).encode()
    tier = topics.retry(timedelta(hours=10))
    place = TopicPartition(topics.results, 1)
    fresh = Record(place, 5, task_id.encode(), value, (("ce_id", task_id.encode()), *headers), 0.0)
    waited = parked(fresh, tier, Progress(8, 0, NOW, NOW, "the receiver answered 500"))
    last = Record(TopicPartition(tier, 1), 42, waited.key, waited.value, waited.headers, 0.0)
    return dead_letter(last, topics.callback_dead_letters, reason, "the receiver answered 500")


def dead_request(
    topics: Topics, value: bytes = JUNK, offset: int = 42, headers: Headers = (), *, origin: str | None = None
) -> OutgoingRecord:
    place = TopicPartition(origin or topics.requests("calculation"), 2)
    original = Record(place, offset, b"key", value, headers, 0.0)
    return dead_letter(original, topics.task_dead_letters, Reason.UNREADABLE, "it is\tno \x1b[31mJSON")


def delivered(topics: Topics, task_id: str, value: bytes | None = None) -> OutgoingRecord:
    """Return the attempt that delivered the result `value`; without one it is as an earlier version wrote it."""
    attempt = CallbackAttempt(
        task_id=task_id,
        number=1,
        receiver="https://hooks.example.com:443",
        outcome="delivered",
        status=200,
        detail="",
        started=NOW,
        duration_ms=3,
        next_due=None,
        result_digest=None if value is None else result_digest(value),
    )
    earlier = {"dead_letter", "result_digest"} if value is None else set()
    value = attempt.model_dump_json(exclude=earlier).encode()
    return OutgoingRecord(topics.attempts, task_id.encode(), value, ())
