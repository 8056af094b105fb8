"""Records that other services produce, good and bad, and what becomes of those that go no further."""

import asyncio
import json
from collections.abc import AsyncIterator
from uuid import UUID

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord

from tests.support.kafka import Kafka
from tests.support.pipeline import Pipeline
from tests.support.receiver import Receiver, receiving
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

ITEM = {"name": "sum", "num_1": 1, "num_2": 2, "operation": "+", "result_rounding": 0}
HEADERS = [("mine", b"1"), ("mine", b"2")]
POISON = {
    "no JSON": (b"{", HEADERS, "unreadable"),
    "bad UTF-8": (b'{"callback_url": "\xff"}', HEADERS, "unreadable"),
    "UTF-16": ('{"callback_url": "http://a.example/"}'.encode("utf-16"), HEADERS, "unreadable"),
    "wrong shape": (b'{"callback_url": "http://a.example/", "message": {}}', HEADERS, "unreadable"),
    "nested too deeply": (b"[" * 100_000, HEADERS, "unreadable"),
    "tombstone": (None, HEADERS, "unreadable"),
    "too large": (b" " * (2**20 + 1), HEADERS, "too-large"),
    "id that is none": (b"{}", [("ce_id", b"\x00")], "unreadable"),
    "two ids": (b"{}", [("ce_id", b"1"), ("ce_id", b"2")], "unreadable"),
}


class Topics:
    """A producer and readers for a pipeline's topics."""

    def __init__(self, bootstrap: str, prefix: str, producer: AIOKafkaProducer) -> None:
        self._bootstrap = bootstrap
        self._prefix = prefix
        self._producer = producer

    async def produce(
        self, value: bytes | None, headers: list[tuple[str, bytes]] | None = None, key: bytes | None = None
    ) -> int:
        """Produce to the first partition of `calculation.requests`; return the offset."""
        topic = f"{self._prefix}calculation.requests"
        placed = await self._producer.send_and_wait(topic, value, key=key, headers=headers or [], partition=0)
        return int(placed.offset)

    async def find(self, topic: str, **wanted: str) -> ConsumerRecord:
        """Return the first record of `topic` with these headers."""
        async with (
            asyncio.timeout(20),
            AIOKafkaConsumer(
                self._prefix + topic,
                bootstrap_servers=self._bootstrap,
                auto_offset_reset="earliest",
                max_partition_fetch_bytes=2**23,
            ) as consumer,
        ):
            while True:
                record = await consumer.getone()
                headers = dict(record.headers)
                if all(headers.get(name) == value.encode() for name, value in wanted.items()):
                    return record


@pytest_asyncio.fixture(loop_scope="session")
async def topics(kafka: Kafka, pipeline: Pipeline) -> AsyncIterator[Topics]:
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, max_request_size=2**22) as producer:
        yield Topics(kafka.bootstrap, pipeline.prefix, producer)


def request(receiver: Receiver, number: int) -> bytes:
    return json.dumps({"callback_url": receiver.url, "message": [{**ITEM, "num_1": number}]}).encode()


async def test_a_record_without_key_or_headers_is_as_good_as_a_request(
    pipeline: Pipeline, receiver: Receiver, topics: Topics
) -> None:
    await topics.produce(request(receiver, 40))
    await eventually(lambda: receiver.bodies, 20, pipeline.callbacks.log_tail)
    ((task_id, body),) = receiver.bodies.items()
    assert UUID(task_id).version == 5
    assert body == {"results": [{"sum": 42.0}], "errors": [], "task_id": task_id}


async def test_a_record_may_bring_its_own_id(pipeline: Pipeline, receiver: Receiver, topics: Topics) -> None:
    await topics.produce(request(receiver, 1), [("ce_id", b"order-4711")], key=b"customer-1")
    await eventually(lambda: "order-4711" in receiver.bodies, 20, pipeline.callbacks.log_tail)


@pytest.mark.parametrize("name", POISON)
async def test_poison_is_a_complete_dead_letter_and_its_partition_moves_on(
    pipeline: Pipeline, receiver: Receiver, topics: Topics, name: str
) -> None:
    value, headers, reason = POISON[name]
    offset = await topics.produce(value, headers, key=b"key")
    await topics.produce(request(receiver, 1))
    await eventually(lambda: receiver.bodies, 20, pipeline.tasks.log_tail)
    letter = await topics.find("task.dead-letters", dead_letter_partition="0", dead_letter_offset=str(offset))
    assert (letter.key, letter.value) == (b"key", value)
    assert list(letter.headers[: len(headers)]) == headers
    ours = dict(letter.headers)
    assert ours["dead_letter_reason"].decode() == reason
    assert ours["dead_letter_topic"].decode() == f"{pipeline.prefix}calculation.requests"
    assert ours["dead_letter_error"]


@pytest.mark.parametrize(("status", "end"), [(410, ("refused", 1)), (500, ("exhausted", 3))])
async def test_a_callback_that_is_not_taken_becomes_a_dead_letter(
    pipeline: Pipeline, receiver: Receiver, topics: Topics, status: int, end: tuple[str, int]
) -> None:
    reason, calls = end
    receiver.statuses = lambda: status
    task_id = await pipeline.submit(1, receiver.url)
    letter = await topics.find("callback.dead-letters", ce_id=task_id)
    headers = dict(letter.headers)
    assert headers["dead_letter_reason"].decode() == reason
    assert headers["dead_letter_error"].decode() == f"the receiver answered {status}"
    assert json.loads(letter.value)["results"] == [{"sum": 1.5}]
    assert receiver.calls[task_id] == calls


async def test_receivers_that_hang_hold_up_no_other(pipeline: Pipeline, receiver: Receiver) -> None:
    async with receiving() as hanging:
        hanging.swallows = lambda: True
        slow = [await pipeline.submit(number, hanging.url) for number in range(100)]
        await eventually(lambda: hanging.swallowed, 20, pipeline.callbacks.log_tail)
        fast = [await pipeline.submit(number, receiver.url) for number in range(100)]
        await eventually(lambda: receiver.bodies.keys() >= set(fast), 20, pipeline.callbacks.log_tail)
        assert not hanging.bodies.keys() & set(slow)


async def test_an_address_inside_is_a_dead_letter_that_does_not_name_it(pipeline: Pipeline, topics: Topics) -> None:
    task_id = await pipeline.submit(1, "http://169.254.169.254/latest/meta-data")
    letter = await topics.find("callback.dead-letters", ce_id=task_id)
    headers = dict(letter.headers)
    assert headers["dead_letter_reason"] == b"forbidden"
    assert b"169.254" not in headers["dead_letter_error"]


async def test_a_record_that_cannot_be_read_and_says_where_to_call_back_is_told_so(
    pipeline: Pipeline, receiver: Receiver, topics: Topics
) -> None:
    value = json.dumps({"callback_url": receiver.url, "message": [{**ITEM, "operation": "%"}]}).encode()
    await topics.produce(value, [("ce_id", b"odd-1")])
    await eventually(lambda: "odd-1" in receiver.bodies, 20, pipeline.tasks.log_tail)
    ((name, text),) = receiver.bodies["odd-1"]["errors"][0].items()
    assert name == "request"
    assert "message.0.operation" in text
