"""A broker that is killed, and members that come and go, change nothing about what was accepted."""

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.kafka import Kafka, OwnKafka
from tests.support.pipeline import pipeline_on
from tests.support.receiver import more_calls, receiving
from tests.support.waiting import eventually

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]

# One receiver gets everything here: it may, and what it has no room for comes back soon.
SETTINGS = {
    "CALLSTREAM_CALLBACKS__RECEIVER_IN_FLIGHT": "200",
    "CALLSTREAM_CALLBACKS__SCHEDULE": "500ms,1s,2s,4s,8s",
}
CALLS, MOST = 200, 60_000


async def test_a_sigkill_of_the_broker_loses_nothing(own_kafka: OwnKafka, prefix: str, tmp_path: Path) -> None:
    env = {**SETTINGS, "CALLSTREAM_TOPICS__PREFIX": prefix}
    async with receiving() as receiver, pipeline_on(own_kafka.bootstrap, tmp_path, env) as pipeline:
        receiver.delay = lambda: random.uniform(0, 0.3)  # noqa: S311 - so that callbacks end out of order
        numbers = Until(MOST)  # a load of so many might end while the broker starts, and no call come after
        load = asyncio.create_task(pipeline.submit_many(numbers, receiver.url))
        for _ in range(2):
            await more_calls(receiver, CALLS, pipeline.callbacks.log_tail)
            own_kafka.kill()
            await own_kafka.start()
        await more_calls(receiver, CALLS, pipeline.callbacks.log_tail)
        numbers.end()
        await load
        assert len(pipeline.expected) < MOST, "the load ended before the broker was killed"
        await eventually(lambda: not pipeline.lost(receiver.bodies), 180, pipeline.callbacks.log_tail)
        assert not pipeline.wrong(receiver.bodies)
        assert not receiver.conflicts


async def test_members_that_come_and_go_lose_nothing(kafka: Kafka, prefix: str, tmp_path: Path) -> None:
    env = {**SETTINGS, "CALLSTREAM_TOPICS__PREFIX": prefix, "CALLSTREAM_TOPICS__PARTITIONS": "4"}
    async with receiving() as receiver, pipeline_on(kafka.bootstrap, tmp_path, env) as pipeline:
        receiver.delay = lambda: random.uniform(0, 0.3)  # noqa: S311 - likewise
        numbers = Until(MOST)
        load = asyncio.create_task(pipeline.submit_many(numbers, receiver.url))
        for name in ("tasks", "callbacks"):
            async with pipeline.another(name) as second:
                await more_calls(receiver, CALLS, pipeline.callbacks.log_tail)
                assert await second.stop() == 0
            await more_calls(receiver, CALLS, pipeline.callbacks.log_tail)
        numbers.end()
        await load
        assert len(pipeline.expected) < MOST, "the load ended before the members did"
        await eventually(lambda: not pipeline.lost(receiver.bodies), 180, pipeline.callbacks.log_tail)
        assert not pipeline.wrong(receiver.bodies)
        assert not receiver.conflicts


class Until:
    """Numbers until `end()`, at most `most`."""

    def __init__(self, most: int) -> None:
        self._numbers = iter(range(most))
        self._ended = False

    def end(self) -> None:
        self._ended = True

    def __iter__(self) -> Iterator[int]:
        for number in self._numbers:
            if self._ended:
                return
            yield number
