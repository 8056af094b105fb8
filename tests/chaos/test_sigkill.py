"""Accepted means kept: real processes are killed with SIGKILL under load, on a real Apache Kafka."""

import asyncio
import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos import out_of_order
from tests.support.kafka import Kafka
from tests.support.pipeline import Pipeline, pipeline_on
from tests.support.processes import CALLSTREAM, Service
from tests.support.receiver import Receiver, receiving
from tests.support.waiting import eventually

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]

JOBS, ROUNDS, WINDOW, PARTITIONS, HANGING = 3_000, 3, 300, 3, 6
BATCH = JOBS // ROUNDS


def settings(prefix: str) -> dict[str, str]:
    return {
        "CALLSTREAM_TOPICS__PREFIX": prefix,
        "CALLSTREAM_TOPICS__PARTITIONS": str(PARTITIONS),
        "CALLSTREAM_KAFKA__SESSION_TIMEOUT": "3",  # for so long the group waits for each that was killed
        "CALLSTREAM_TASKS__WINDOW": str(WINDOW),
        "CALLSTREAM_CALLBACKS__WINDOW": str(WINDOW),
        # One receiver gets everything here: it may, and what it has no room for comes back soon.
        "CALLSTREAM_CALLBACKS__RECEIVER_IN_FLIGHT": "200",
        "CALLSTREAM_CALLBACKS__SCHEDULE": "500ms,1s,2s,4s,8s",
    }


async def kill(service: Service, receiver: Receiver, progress: int) -> None:
    """Kill `service` when `progress` more callbacks have come, and start it again."""
    goal = receiver.calls.total() + progress
    await eventually(lambda: receiver.calls.total() >= goal, 180, service.log_tail)
    service.kill()
    service.start()


async def everything_arrived(pipeline: Pipeline, receiver: Receiver) -> None:
    await eventually(lambda: not pipeline.lost(receiver.bodies), 180, pipeline.callbacks.log_tail)


async def test_a_sigkill_of_any_process_loses_nothing(
    kafka: Kafka, prefix: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    kills = 0
    async with receiving() as receiver, pipeline_on(kafka.bootstrap, tmp_path, settings(prefix)) as pipeline:
        receiver.delay = lambda: random.uniform(0, 0.3)  # noqa: S311 - so that callbacks end out of order
        for first in range(0, JOBS, BATCH):
            load = asyncio.create_task(pipeline.submit_many(range(first, first + BATCH), receiver.url))
            for service in (pipeline.tasks, pipeline.callbacks, pipeline.gateway):
                await kill(service, receiver, progress=BATCH // 10)
                kills += service is not pipeline.gateway
            await load
            await everything_arrived(pipeline, receiver)
        assert len(pipeline.expected) == JOBS
        assert not pipeline.wrong(receiver.bodies)
        assert not receiver.conflicts
        # Documented: a crash repeats at most what the windows of its partitions span.
        assert receiver.duplicates <= kills * WINDOW * PARTITIONS
        record_property("duplicates", receiver.duplicates)


@pytest.mark.parametrize(
    ("program", "lost"),
    [
        pytest.param((CALLSTREAM,), 0, id="window"),
        # The negative control: without the order, the same test loses exactly what hung.
        pytest.param((sys.executable, out_of_order.__file__), HANGING, id="acknowledgement that ignores order"),
    ],
)
async def test_a_sigkill_while_the_oldest_callbacks_hang(
    kafka: Kafka, prefix: str, tmp_path: Path, program: tuple[str, ...], lost: int
) -> None:
    env = settings(prefix) | {"CALLSTREAM_CALLBACKS__DEADLINE": "300"}
    jobs = WINDOW * PARTITIONS // 2
    async with (
        receiving() as hanging,
        receiving() as receiver,
        pipeline_on(kafka.bootstrap, tmp_path, env, callbacks_program=program) as pipeline,
    ):
        hanging.swallows = lambda: True
        await pipeline.submit_many(range(HANGING), hanging.url)
        await eventually(lambda: hanging.swallowed == HANGING, 180, pipeline.callbacks.log_tail)
        await pipeline.submit_many(range(jobs), receiver.url)
        await eventually(lambda: len(receiver.bodies) == jobs, 180, pipeline.callbacks.log_tail)
        if lost:  # only the careless one gets there
            await eventually(lambda: pipeline.results_committed(HANGING + jobs), 90)
        hanging.swallows = lambda: False
        pipeline.callbacks.kill()
        pipeline.callbacks.start()
        # What comes behind in every partition shows that the restarted process is past what it had to repeat.
        more = 20 * PARTITIONS
        await pipeline.submit_many(range(jobs, jobs + more), receiver.url)
        await eventually(lambda: len(receiver.bodies) == jobs + more, 180, pipeline.callbacks.log_tail)
        await eventually(
            lambda: len(pipeline.lost({**hanging.bodies, **receiver.bodies})) == lost, 180, pipeline.callbacks.log_tail
        )
        assert not pipeline.wrong({**hanging.bodies, **receiver.bodies})
