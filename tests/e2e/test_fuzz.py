"""Ten thousand broken records: none stops a partition, and every one of them is accounted for."""

import json
import random
import time
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from callstream.contract.headers import readable_task_id
from callstream.contract.records import Headers, Record, TopicPartition
from tests.support.kafka import Kafka
from tests.support.pipeline import Pipeline
from tests.support.receiver import Receiver
from tests.support.topics import content
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

COUNT, AT_ONCE = 10_000, 1_000
ITEM = {"name": "sum", "num_1": 1, "num_2": 2, "operation": "+", "result_rounding": 0}
AHEAD = 1_800  # seconds: Kafka itself refuses what is more than an hour ahead
HEADERS: list[Headers] = [
    (),
    (),
    (("ce_id", b"\xff"),),
    (("ce_id", b"one"), ("ce_id", b"two")),
    (("ce_id", None),),
    (("callback_deadline", b"soon"),),
    (("traceparent", b"\x00" * 100),),
    (("", b""), ("content-type", b"text/plain"), ("dead_letter_reason", b"mine")),
]


class Fuzzed(NamedTuple):
    value: bytes | None
    key: bytes | None
    headers: Headers
    timestamp: int | None


def fuzzed(chance: random.Random, callback_url: str) -> Iterator[Fuzzed]:
    """Yield records that were good before something happened to them."""
    oddities: list[object] = [
        None,
        "",
        "x",
        -1,
        1e308,
        [],
        {},
        [[]],
        {"a": {"b": [1]}},
        True,
        "\u0000",
        10**40,
        "ftp://a/",
    ]
    ahead = round((time.time() + AHEAD) * 1_000)
    while True:
        request: dict[str, object] = {"callback_url": callback_url, "message": [dict(ITEM)], "extra": 1}
        value = spoiled(chance, json.dumps(mutated(chance, request, oddities)).encode())
        key = chance.choice([None, b"", b"key", chance.randbytes(8)])
        if value is None and key is None:
            key = b"tombstone"
        yield Fuzzed(value, key, chance.choice(HEADERS), chance.choice([None, None, 0, ahead]))


def spoiled(chance: random.Random, value: bytes) -> bytes | None:
    match chance.randrange(8):
        case 0:
            return value[: chance.randrange(len(value))]
        case 1:
            position = chance.randrange(len(value))
            return value[:position] + chance.randbytes(1) + value[position + 1 :]
        case 2:
            return chance.randbytes(chance.randrange(200))
        case 3:
            larger_than_may_be = b" " * (1_100_000 if chance.randrange(10) == 0 else 10)
            return chance.choice([None, b"", b"[" * 10_000, value.decode().encode("utf-16"), larger_than_may_be])
    return value


def mutated(chance: random.Random, request: dict[str, object], oddities: list[object]) -> object:
    match chance.randrange(5):
        case 0:
            return chance.choice(oddities)
        case 1:
            request[chance.choice(list(request))] = chance.choice(oddities)
        case 2:
            request["message"] = [{**ITEM, chance.choice(list(ITEM)): chance.choice(oddities)}]
        case 3:
            del request[chance.choice(list(request))]
    return request


@pytest.mark.timeout(900)
async def test_ten_thousand_fuzzed_records_are_all_accounted_for_and_no_partition_is_stuck(
    pipeline: Pipeline, receiver: Receiver, kafka: Kafka
) -> None:
    produced = await produce(kafka, pipeline, fuzzed(random.Random(2_026), receiver.url))  # noqa: S311 - so that it is the same each time
    assert len(produced) == COUNT
    await eventually(lambda: nothing_is_left(kafka, pipeline), 250, pipeline.tasks.log_tail)
    letters, results = await outcomes(kafka, pipeline)
    lost = [
        place for place, record in produced.items() if place not in letters and readable_task_id(record) not in results
    ]
    assert not lost
    assert len(letters) > COUNT // 10
    assert len(produced.keys() - letters) > COUNT // 10
    # The pipeline goes on as if nothing had been.
    task_id = await pipeline.submit(1, receiver.url)
    await eventually(lambda: task_id in receiver.bodies, 60, pipeline.callbacks.log_tail)


async def produce(kafka: Kafka, pipeline: Pipeline, records: Iterator[Fuzzed]) -> dict[tuple[int, int], Record]:
    """Produce to both partitions of `calculation.requests`; return what was produced by its place."""
    topic = f"{pipeline.prefix}calculation.requests"
    produced = {}
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, max_request_size=2**21) as producer:
        for first in range(0, COUNT, AT_ONCE):
            batch = [next(records) for _ in range(first, first + AT_ONCE)]
            sent = [
                await producer.send(topic, each.value, each.key, number % 2, each.timestamp, headers=list(each.headers))
                for number, each in enumerate(batch)
            ]
            for each, future in zip(batch, sent, strict=True):
                placed = await future
                record = Record(
                    TopicPartition(topic, placed.partition), placed.offset, each.key, each.value, each.headers, 0.0
                )
                produced[placed.partition, placed.offset] = record
    return produced


async def nothing_is_left(kafka: Kafka, pipeline: Pipeline) -> bool:
    """Return whether the tasks' group has committed all that its topics hold."""
    committed = await pipeline.committed("tasks")
    async with AIOKafkaConsumer(f"{pipeline.prefix}calculation.requests", bootstrap_servers=kafka.bootstrap) as reader:
        ends = await reader.end_offsets(reader.assignment())
    return all(partition in committed and committed[partition].offset == end for partition, end in ends.items())


async def outcomes(kafka: Kafka, pipeline: Pipeline) -> tuple[set[tuple[int, int]], set[str]]:
    """Return the origins of the dead letters, and the ids of the results."""
    letters, results = set(), set()
    topics = (f"{pipeline.prefix}task.dead-letters", f"{pipeline.prefix}task.results")
    for record in await content(kafka.bootstrap, *topics):
        headers = dict(record.headers)
        if record.topic == topics[0]:
            letters.add((int(headers["dead_letter_partition"]), int(headers["dead_letter_offset"])))
        else:
            results.add(headers["ce_id"].decode())
    return letters, results
