"""Callbacks that wait for their next attempt survive whatever happens to the process, and come back without a storm."""

import json
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.structs import TopicPartition

from callstream.contract.retries import Progress, parked
from tests.support.kafka import Kafka
from tests.support.pipeline import Pipeline, pipeline_on
from tests.support.receiver import more_calls, receiving
from tests.support.topics import content
from tests.support.waiting import eventually
from tests.unit.records import record as result_record

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]

JOBS, PARTITIONS, AT_ONCE = 1_000, 3, 16
PROBED = 12  # calls: what was under way when the breaker opened, and several probes


def settings(prefix: str, **more: str) -> dict[str, str]:
    return {
        "CALLSTREAM_TOPICS__PREFIX": prefix,
        "CALLSTREAM_TOPICS__PARTITIONS": str(PARTITIONS),
        "CALLSTREAM_KAFKA__SESSION_TIMEOUT": "3",  # for so long the group waits for each that was killed
        "CALLSTREAM_CALLBACKS__SCHEDULE": "500ms,1s,2s,4s,4s,4s,4s,4s,4s",
        "CALLSTREAM_CALLBACKS__RECEIVER_IN_FLIGHT": str(AT_ONCE),
        **more,
    }


async def attempts_of(kafka: Kafka, pipeline: Pipeline) -> dict[str, list[dict[str, Any]]]:
    """Return what `callback.attempts` tells, by task, in order."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in await content(kafka.bootstrap, f"{pipeline.prefix}callback.attempts"):
        attempt = json.loads(record.value)
        found[attempt["task_id"]].append(attempt)
    return found


async def test_a_sigkill_while_callbacks_wait_loses_none_and_repeats_no_attempt_from_one(
    kafka: Kafka, prefix: str, tmp_path: Path
) -> None:
    async with (
        receiving() as down,  # its breaker opens
        receiving() as wrong,  # it answers, and each callback is charged
        pipeline_on(kafka.bootstrap, tmp_path, settings(prefix)) as pipeline,
    ):
        down.statuses, wrong.statuses = lambda: 500, lambda: 404
        await pipeline.submit_many(range(JOBS), down.url)
        await pipeline.submit_many(range(JOBS), wrong.url)
        # What was tried and is not committed yet may be tried once more; of what waits nothing may be forgotten.
        await eventually(lambda: pipeline.results_committed(2 * JOBS), 180, pipeline.callbacks.log_tail)
        # Some waited for their first attempt, as their receiver had no room.
        await eventually(lambda: len(wrong.calls) == JOBS, 180, pipeline.callbacks.log_tail)
        await eventually(lambda: first_attempts_committed(kafka, pipeline, wrong.url), 180, pipeline.callbacks.log_tail)
        for _ in range(3):
            await more_calls(wrong, JOBS // 2, pipeline.callbacks.log_tail)
            pipeline.callbacks.kill()
            pipeline.callbacks.start()
        down.statuses = wrong.statuses = lambda: 200
        await eventually(
            lambda: len(down.taken) + len(wrong.taken) == 2 * JOBS, 180, lambda: f"{len(down.taken)} {len(wrong.taken)}"
        )
        assert not pipeline.wrong({**down.bodies, **wrong.bodies})
        await eventually(lambda: all_delivered(kafka, pipeline), 90, pipeline.callbacks.log_tail)
        for task_id, attempts in (await attempts_of(kafka, pipeline)).items():
            assert not too_early(attempts)
            firsts = sum(attempt["number"] == 1 for attempt in attempts)
            assert firsts == 1 or task_id in down.bodies, "what waited began again from its first attempt"


async def test_results_dated_one_after_another_hold_their_tier_once(kafka: Kafka, prefix: str, tmp_path: Path) -> None:
    one_tier = settings(prefix, CALLSTREAM_TOPICS__PARTITIONS="1", CALLSTREAM_CALLBACKS__SCHEDULE="2s,1h")
    async with receiving() as receiver, pipeline_on(kafka.bootstrap, tmp_path, one_tier) as pipeline:
        now = datetime.now(UTC)
        result: dict[str, Any] = {
            "task_id": "t",
            "task": "x",
            "callback_url": receiver.url,
            "results": [],
            "errors": [],
        }
        result["times"] = dict.fromkeys(("received", "started", "finished"), now.isoformat())
        async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, linger_ms=100) as producer:
            for number in range(60):  # each might hold the others for 2.4 s
                at = now + timedelta(seconds=2.3 * number)
                progress = Progress(1, 0, now, at + timedelta(hours=1), "it answered 500", at)
                waiting = parked(result_record(result), f"{prefix}callback.retry.2s", progress)
                await producer.send(waiting.topic, waiting.value, headers=list(waiting.headers))
            await producer.flush()
        receiver.statuses = iter([500, 200]).__next__
        await pipeline.submit(1, receiver.url)
        await eventually(lambda: len(receiver.taken) == 1, 90, pipeline.callbacks.log_tail)


async def first_attempts_committed(kafka: Kafka, pipeline: Pipeline, receiver: str) -> bool:
    """Return whether what waited in a tier for its first attempt at `receiver` has had it, for good."""
    committed = await pipeline.committed("callbacks")
    tiers = {partition.topic for partition in committed if ".retry." in partition.topic}
    return not any(
        dict(record.headers)["callback_attempts"] == b"0"
        and json.loads(record.value)["callback_url"] == receiver
        and record.offset >= committed[TopicPartition(record.topic, record.partition)].offset
        for record in await content(kafka.bootstrap, *tiers)
    )


async def all_delivered(kafka: Kafka, pipeline: Pipeline) -> bool:
    told = await attempts_of(kafka, pipeline)
    delivered = {task for task, tries in told.items() if any(attempt["outcome"] == "delivered" for attempt in tries)}
    return delivered == pipeline.expected.keys()


def too_early(attempts: list[dict[str, Any]]) -> list[int]:
    """Return the numbers of the attempts that began before they were due, by whichever try of the one before."""
    dues: dict[int, datetime] = {}
    for attempt in attempts:
        if attempt["next_due"]:
            due, number = datetime.fromisoformat(attempt["next_due"]), attempt["number"] + 1
            dues[number] = min(due, dues.get(number, due))
    return [
        attempt["number"]
        for attempt in attempts
        if attempt["number"] in dues and datetime.fromisoformat(attempt["started"]) < dues[attempt["number"]]
    ]


async def test_a_receiver_that_returns_gets_no_more_at_once_than_its_bulkhead(
    kafka: Kafka, prefix: str, tmp_path: Path
) -> None:
    async with receiving() as receiver, pipeline_on(kafka.bootstrap, tmp_path, settings(prefix)) as pipeline:
        receiver.statuses = lambda: 503
        await pipeline.submit_many(range(JOBS), receiver.url)
        await eventually(lambda: receiver.calls.total() >= PROBED, 180, pipeline.callbacks.log_tail)
        calls_while_down = receiver.calls.total()
        receiver.statuses, receiver.delay = lambda: 200, lambda: 0.02
        receiver.most_at_once = 0
        await eventually(lambda: len(receiver.taken) == JOBS, 180, pipeline.callbacks.log_tail)
        assert receiver.most_at_once <= AT_ONCE
        assert calls_while_down < JOBS // 10, "while it was down it was left alone"


async def test_a_tier_is_shared_by_replicas_and_moves_to_those_that_are_left(
    kafka: Kafka, prefix: str, tmp_path: Path
) -> None:
    env = settings(prefix, CALLSTREAM_CALLBACKS__BREAKER_FAILURES="1000000")
    async with (
        receiving() as receiver,
        pipeline_on(kafka.bootstrap, tmp_path, env) as pipeline,
        pipeline.another("callbacks") as second,
    ):
        receiver.statuses = lambda: 404
        await pipeline.submit_many(range(JOBS), receiver.url)
        await eventually(lambda: receiver.calls.total() >= JOBS, 180, second.log_tail)
        receiver.statuses = lambda: 200
        await eventually(lambda: "delivered" in second.read_log(), 180, second.log_tail)
        second.kill()
        await eventually(lambda: len(receiver.taken) == JOBS, 180, pipeline.callbacks.log_tail)
        assert "delivered" in pipeline.callbacks.read_log()
