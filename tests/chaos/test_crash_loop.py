"""A record that kills its process again and again is given up; whatever else kills it, no record is blamed for it."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import ConsumerRecord

from callstream.contract.dead_letters import Reason
from tests.chaos import deadly_number
from tests.support.kafka import Kafka
from tests.support.pipeline import Pipeline, pipeline_on
from tests.support.processes import Service
from tests.support.receiver import more_calls, receiving
from tests.support.topics import content
from tests.support.waiting import eventually

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]

JOBS, PARTITIONS, KILLS = 600, 3, 5
DEATHS = 7  # two until the record is suspected, one each among 256 and among 16, three alone
LATE = 2  # more, where the machine is so slow that another group is tried before this one kills


class Supervised:
    """`callstream tasks` with the deadly number, started again whenever it ends."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.deaths = 0

    async def supervise(self) -> None:
        while True:
            await eventually(lambda: not self.service.running, 600)
            self.deaths += 1
            self.service.start()


@asynccontextmanager
async def supervised(pipeline: Pipeline) -> AsyncIterator[Supervised]:
    program = (sys.executable, deadly_number.__file__)
    with Service("tasks", env=pipeline.env, directory=pipeline.directory, program=program) as service:
        tasks = Supervised(service)
        watching = asyncio.create_task(tasks.supervise())
        try:
            yield tasks
        finally:
            watching.cancel()


def settings(prefix: str) -> dict[str, str]:
    return {
        "CALLSTREAM_TOPICS__PREFIX": prefix,
        "CALLSTREAM_TOPICS__PARTITIONS": str(PARTITIONS),
        "CALLSTREAM_KAFKA__SESSION_TIMEOUT": "3",  # for so long the group waits for each that was killed
    }


async def dead_letters(kafka: Kafka, pipeline: Pipeline) -> list[ConsumerRecord]:
    return await content(kafka.bootstrap, f"{pipeline.prefix}task.dead-letters")


async def notes(pipeline: Pipeline) -> set[str]:
    """Return what stands beside the committed offsets of `tasks`."""
    return {found.metadata for found in (await pipeline.committed("tasks")).values()}


async def test_a_record_that_kills_its_process_is_given_up_and_all_others_are_done(
    kafka: Kafka, prefix: str, tmp_path: Path
) -> None:
    async with receiving() as receiver, pipeline_on(kafka.bootstrap, tmp_path, settings(prefix)) as pipeline:
        await pipeline.tasks.stop()
        await pipeline.submit_many(range(JOBS // 2), receiver.url)
        deadly = await pipeline.submit(deadly_number.DEADLY, receiver.url)
        del pipeline.expected[deadly]
        await pipeline.submit_many(range(JOBS // 2), receiver.url)
        async with supervised(pipeline) as tasks:
            await eventually(lambda: deadly in receiver.bodies, 200, tasks.service.log_tail)
            await eventually(lambda: not pipeline.lost(receiver.bodies), 180, tasks.service.log_tail)
            # Nothing is suspected any more: every partition moves on, and at once.
            await pipeline.submit_many(range(JOBS), receiver.url)
            await eventually(lambda: not pipeline.lost(receiver.bodies), 180, tasks.service.log_tail)
            assert DEATHS <= tasks.deaths <= DEATHS + LATE
        error = "processed 3 times, the process died each time"
        assert receiver.bodies[deadly] == {"results": [], "errors": [{"request": error}], "task_id": deadly}
        assert not pipeline.wrong(receiver.bodies)
        letters = await dead_letters(kafka, pipeline)
        assert [dict(letter.headers)["dead_letter_reason"] for letter in letters] == [Reason.CRASHED.encode()]


async def test_a_process_that_is_killed_from_outside_blames_no_record(
    kafka: Kafka, prefix: str, tmp_path: Path
) -> None:
    async with receiving() as receiver, pipeline_on(kafka.bootstrap, tmp_path, settings(prefix)) as pipeline:
        for _ in range(KILLS):
            load = asyncio.create_task(pipeline.submit_many(range(JOBS), receiver.url))
            await more_calls(receiver, JOBS // 10, pipeline.tasks.log_tail)
            pipeline.tasks.kill()
            pipeline.tasks.start()
            await load
        await eventually(lambda: not pipeline.lost(receiver.bodies), 180, pipeline.tasks.log_tail)
        assert not pipeline.wrong(receiver.bodies)
        assert not receiver.conflicts
        assert await dead_letters(kafka, pipeline) == []


async def test_a_stop_in_good_order_leaves_no_note(kafka: Kafka, prefix: str, tmp_path: Path) -> None:
    # Longer than any halt of a slow machine: a group that takes a process for dead accepts nothing of it any more.
    env = settings(prefix) | {"CALLSTREAM_KAFKA__SESSION_TIMEOUT": "30"}
    async with receiving() as receiver, pipeline_on(kafka.bootstrap, tmp_path, env) as pipeline:
        assert all(note.startswith("callstream/1 owner=") for note in await notes(pipeline))
        await pipeline.submit_many(range(JOBS), receiver.url)
        async with pipeline.another("tasks") as second:
            assert await second.stop() == 0
        assert await pipeline.tasks.stop() == 0
        left = {note for note in await notes(pipeline) if note.startswith("callstream/")}
        assert not left, pipeline.tasks.log_tail()
