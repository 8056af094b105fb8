"""SIGTERM and Ctrl-C: what is under way is ended, what is not yet begun is left to the next start."""

import signal
import sys
from pathlib import Path

import psutil
import pytest
from aiokafka import AIOKafkaProducer

from tests.e2e import crashing_consumer
from tests.support.kafka import Kafka
from tests.support.pipeline import pipeline_on
from tests.support.processes import Service, run_to_end
from tests.support.receiver import receiving
from tests.support.waiting import eventually

COUNT = 50


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_delivers_what_is_under_way_once_and_exits_0(
    kafka: Kafka, prefix: str, tmp_path: Path, number: signal.Signals
) -> None:
    env = {"CALLSTREAM_TOPICS__PREFIX": prefix, "CALLSTREAM_TOPICS__PARTITIONS": "2"}
    async with receiving() as receiver, pipeline_on(kafka.bootstrap, tmp_path, env) as pipeline:
        receiver.delay = lambda: 1.0
        await pipeline.submit_many(range(COUNT), receiver.url)
        await eventually(lambda: receiver.calls.total() == COUNT, 20, pipeline.callbacks.log_tail)
        for service in (pipeline.gateway, pipeline.tasks, pipeline.callbacks):
            psutil.Process(service.pid).send_signal(number)
        for service in (pipeline.gateway, pipeline.tasks, pipeline.callbacks):
            assert await service.wait() == 0
        for service in (pipeline.gateway, pipeline.tasks, pipeline.callbacks):
            service.start()
            await service.wait_until_ready()
        # What comes behind in every partition shows that nothing of before is repeated.
        await pipeline.submit_many(range(COUNT, 2 * COUNT), receiver.url)
        await eventually(lambda: not pipeline.lost(receiver.bodies), 20, pipeline.callbacks.log_tail)
        assert receiver.duplicates == 0
        assert not pipeline.wrong(receiver.bodies)


@pytest.mark.parametrize("kind", ["tasks", "callbacks"])
async def test_a_process_whose_consumer_crashes_ends_with_1(
    kind: str, kafka: Kafka, prefix: str, tmp_path: Path
) -> None:
    """Faust cancels what is under way in its thread then, a commit among it, and so the stop that awaits that."""
    env = {
        "CALLSTREAM_KAFKA__BOOTSTRAP": kafka.bootstrap,
        "CALLSTREAM_TOPICS__PREFIX": prefix,
        "CALLSTREAM_TOPICS__PARTITIONS": "1",
        f"CALLSTREAM_{kind.upper()}__DRAIN": "0",
    }
    exit_code, output = await run_to_end("topics", env=env, directory=tmp_path)
    assert exit_code == 0, output
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
        for topic in ("calculation.requests", "task.results"):
            await producer.send_and_wait(f"{prefix}{topic}", b"{}")
    program = (sys.executable, crashing_consumer.__file__)
    with Service(kind, env=env, directory=tmp_path, program=program) as crashing:
        assert await crashing.wait(60) == 1
        assert "process.failed" in crashing.read_log()
