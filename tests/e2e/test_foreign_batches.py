"""Batches of other producers, sound and hostile: none ends a process, and none holds up what stands behind it."""

import asyncio
import json
import struct
from collections.abc import AsyncIterator

import cramjam
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord
from confluent_kafka import Producer

from callstream.contract.dead_letters import DeadLetter, Reason, opened
from callstream.contract.records import Record, TopicPartition
from tests.support.batches import HEAD, NAME, TIME, batch, compressed, produce_batch, sealed, with_name
from tests.support.kafka import Kafka
from tests.support.pipeline import Pipeline
from tests.support.receiver import Receiver
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

ITEM = {"name": "sum", "num_1": 1, "num_2": 2, "operation": "+", "result_rounding": 0}
TIMES = dict.fromkeys(("received", "started", "finished"), "2026-01-31T12:00:00Z")
TOPICS = ["calculation.requests", "task.results", "callback.retry.0.05s"]
BOMB = 2**27  # bytes


def request(receiver: Receiver) -> bytes:
    return json.dumps({"callback_url": receiver.url, "message": [ITEM]}).encode()


def value(topic: str, task_id: str, receiver: Receiver) -> bytes:
    """Return what `topic` has for this task."""
    if topic == "calculation.requests":
        return request(receiver)
    result = {"task_id": task_id, "task": "calculation", "callback_url": receiver.url, "results": [], "errors": []}
    return json.dumps({**result, "times": TIMES}).encode()


async def letters(pipeline: Pipeline, kafka: Kafka) -> AsyncIterator[ConsumerRecord]:
    topic = f"{pipeline.prefix}task.dead-letters"
    async with AIOKafkaConsumer(topic, bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest") as consumer:
        async for letter in consumer:
            yield letter


async def letter_of(pipeline: Pipeline, kafka: Kafka, topic: str, reason: Reason) -> DeadLetter:
    """Return the dead letter of that topic with this reason."""
    async with asyncio.timeout(30):
        async for found in letters(pipeline, kafka):
            letter = opened(Record(TopicPartition("", 0), 0, found.key, found.value, found.headers, 0.0))
            if letter is not None and (letter.original.partition.topic, letter.reason) == (topic, reason):
                return letter
    raise AssertionError


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
async def test_every_codec_of_a_foreign_producer_is_read(
    kafka: Kafka, pipeline: Pipeline, receiver: Receiver, codec: str
) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "compression.type": codec, "linger.ms": 100})
    for number in range(20):
        producer.produce(
            f"{pipeline.prefix}calculation.requests", request(receiver), headers={"ce_id": f"{codec}-{number}"}
        )
    await asyncio.to_thread(producer.flush, 20)
    await eventually(lambda: len(receiver.bodies) == 20, 20, pipeline.tasks.log_tail)


@pytest.mark.parametrize("topic", TOPICS)
async def test_a_header_name_that_is_not_utf_8_costs_nothing(
    kafka: Kafka, pipeline: Pipeline, receiver: Receiver, topic: str
) -> None:
    task_id = f"name-{topic}"
    headers = [(NAME, b"x"), ("ce_id", task_id.encode())]
    raw = with_name(batch(value(topic, task_id, receiver), headers=headers), b"\xff-r\xe9sum\xe9s\xff")
    assert await produce_batch(kafka.bootstrap, pipeline.prefix + topic, 0, raw) == 0
    await eventually(lambda: task_id in receiver.bodies, 20, pipeline.callbacks.log_tail)
    assert pipeline.tasks.running
    assert pipeline.callbacks.running


@pytest.mark.parametrize("topic", TOPICS)
async def test_a_batch_that_inflates_to_too_much_is_a_dead_letter_and_the_partition_goes_on(
    kafka: Kafka, pipeline: Pipeline, receiver: Receiver, topic: str
) -> None:
    bomb = bytes(cramjam.zstd.compress(batch(bytes(BOMB))[HEAD:]))
    full = pipeline.prefix + topic
    assert await produce_batch(kafka.bootstrap, full, 0, compressed(batch(b""), 4, bomb)) == 0
    behind = f"behind-{topic}"
    raw = batch(value(topic, behind, receiver), headers=[("ce_id", behind.encode())])
    assert await produce_batch(kafka.bootstrap, full, 0, raw) == 0
    await eventually(lambda: behind in receiver.bodies, 20, pipeline.callbacks.log_tail)
    letter = await letter_of(pipeline, kafka, full, Reason.DAMAGED)
    assert (letter.original.value or b"").endswith(bomb)
    assert "inflates to more than" in letter.error


@pytest.mark.parametrize("topic", TOPICS)
async def test_a_record_of_nothing_is_a_dead_letter(
    kafka: Kafka, pipeline: Pipeline, receiver: Receiver, topic: str
) -> None:
    """Without key, value and time; aiokafka's own producer would refuse to write it."""
    full = pipeline.prefix + topic
    without_time = batch(None).replace(struct.pack(">qq", TIME, TIME), struct.pack(">qq", -1, -1))
    assert await produce_batch(kafka.bootstrap, full, 0, sealed(without_time)) == 0
    await letter_of(pipeline, kafka, full, Reason.UNREADABLE)
    behind = f"behind-nothing-{topic}"
    raw = batch(value(topic, behind, receiver), headers=[("ce_id", behind.encode())])
    assert await produce_batch(kafka.bootstrap, full, 0, raw) == 0
    await eventually(lambda: behind in receiver.bodies, 20, pipeline.callbacks.log_tail)


async def test_what_a_producer_aborted_is_not_executed(kafka: Kafka, pipeline: Pipeline, receiver: Receiver) -> None:
    topic = f"{pipeline.prefix}calculation.requests"
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id=topic) as producer:
        for task_id, abort in (("aborted", True), ("committed", False)):
            await producer.begin_transaction()
            await producer.send(topic, request(receiver), headers=[("ce_id", task_id.encode())], partition=0)
            await (producer.abort_transaction() if abort else producer.commit_transaction())
    await eventually(lambda: "committed" in receiver.bodies, 20, pipeline.callbacks.log_tail)
    assert receiver.bodies.keys() == {"committed"}
