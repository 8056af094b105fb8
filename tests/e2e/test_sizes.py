"""Records at the limits of their topics, on a real broker: all that comes of what a topic takes fits as well."""

import itertools
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError

from callstream.contract.records import OutgoingRecord
from callstream.contract.sizes import size_of
from callstream.runtime.settings import Settings
from tests.support.kafka import Kafka
from tests.support.pipeline import Pipeline
from tests.support.receiver import Receiver
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

SIZES = Settings.model_construct().sizes
PARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ITEM = {"name": "sum", "num_1": 1, "num_2": 2, "operation": "+", "result_rounding": 0}
TIME = "2026-01-31T12:00:00+00:00"


@pytest_asyncio.fixture(loop_scope="session")
async def producer(kafka: Kafka) -> AsyncIterator[AIOKafkaProducer]:
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, max_request_size=2**24) as running:
        yield running


def result(task_id: str, url: str, padding: int) -> bytes:
    """Return a result whose one entry holds `padding` characters."""
    times = dict.fromkeys(("received", "started", "finished"), TIME)
    entries: dict[str, Any] = {"results": [{"text": "x" * padding}], "errors": []}
    return json.dumps({"task_id": task_id, "task": "x", "callback_url": url, "times": times, **entries}).encode()


async def put(producer: AIOKafkaProducer, topic: str, value: bytes, headers: list[tuple[str, bytes]]) -> None:
    await producer.send_and_wait(topic, value, headers=headers, partition=0)


@pytest.mark.parametrize(
    ("topic", "limit"),
    [
        ("calculation.requests", SIZES.request),
        ("task.results", SIZES.result),
        ("callback.retry.0.05s", SIZES.tier),
        ("callback.attempts", SIZES.attempt),
        ("task.dead-letters", SIZES.dead_letter),
        ("callback.dead-letters", SIZES.dead_letter),
    ],
)
async def test_a_topic_takes_a_record_of_its_limit_and_no_byte_more(
    pipeline: Pipeline, producer: AIOKafkaProducer, topic: str, limit: int
) -> None:
    headers = (("h", b"1"),)
    spare = limit - size_of(OutgoingRecord(topic, None, b" " * 2**20, headers)) + 2**20
    for more, fits in ((-1, True), (0, True), (1, False)):
        # A length has one byte more or less at the limit of a varint, which is far from here.
        value = b" " * (spare + more - (size_of(OutgoingRecord(topic, None, b" " * spare, headers)) - limit))
        assert size_of(OutgoingRecord(topic, None, value, headers)) == limit + more
        try:
            await put(producer, pipeline.prefix + topic, value, list(headers))
        except MessageSizeTooLargeError:
            assert not fits
        else:
            assert fits


@pytest.mark.parametrize("below", [1, 0])
async def test_a_result_of_its_topics_limit_waits_for_its_receiver_and_is_delivered(
    pipeline: Pipeline, producer: AIOKafkaProducer, receiver: Receiver, below: int
) -> None:
    statuses = itertools.chain([500], itertools.repeat(200))
    receiver.statuses = lambda: next(statuses)
    task_id, limit = f"large-{below}", SIZES.result - below
    empty = size_of(OutgoingRecord("", None, result(task_id, receiver.url, 2**21), ())) - 2**21
    await put(producer, f"{pipeline.prefix}task.results", result(task_id, receiver.url, limit - empty), [])
    await eventually(lambda: task_id in receiver.taken, 30, what=pipeline.callbacks.log_tail)
    assert receiver.calls[task_id] == 2


async def test_a_request_with_a_huge_tracestate_is_done_without_it(
    pipeline: Pipeline, producer: AIOKafkaProducer, receiver: Receiver
) -> None:
    value = json.dumps({"callback_url": receiver.url, "message": [ITEM]}).encode()
    headers = [("ce_id", b"traced"), ("traceparent", PARENT), ("tracestate", b"a=" + b"x" * (SIZES.request - 2**12))]
    await put(producer, f"{pipeline.prefix}calculation.requests", value, headers)
    await eventually(lambda: "traced" in receiver.taken, 30, what=pipeline.tasks.log_tail)
    assert receiver.bodies["traced"]["results"] == [{"sum": 3.0}]


@pytest.mark.parametrize(
    "header",
    [
        ("callback_first_seen", b"9999-12-31T00:00:00+00:00"),
        ("callback_due", b"0001-01-01T00:00:00+00:00"),
        ("callback_attempts", b"-9"),
        ("callback_attempts", b"9" * 19),
        ("callback_waits", b"-1"),
    ],
)
@pytest.mark.parametrize("topic", ["task.results", "callback.retry.0.05s"])
async def test_progress_out_of_range_is_a_dead_letter_and_the_next_result_is_delivered(
    pipeline: Pipeline, producer: AIOKafkaProducer, receiver: Receiver, topic: str, header: tuple[str, bytes]
) -> None:
    progress = {"callback_attempts": b"1", "callback_waits": b"0", "callback_last_error": b""}
    progress |= dict.fromkeys(("callback_first_seen", "callback_due"), TIME.encode()) | dict([header])
    await put(producer, pipeline.prefix + topic, result("odd", receiver.url, 1), list(progress.items()))
    await put(producer, pipeline.prefix + topic, result("even", receiver.url, 1), [])
    await eventually(lambda: "even" in receiver.taken, 30, what=pipeline.callbacks.log_tail)
    assert "odd" not in receiver.calls
