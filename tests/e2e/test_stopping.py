"""SIGTERM and Ctrl-C: what is under way is ended, what is not yet begun is left to the next start."""

import signal
from pathlib import Path

import psutil
import pytest

from tests.support.kafka import Kafka
from tests.support.pipeline import pipeline_on
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
