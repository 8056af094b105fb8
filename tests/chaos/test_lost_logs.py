"""What a broker has lost is told, and what it kept is done: logs that are deleted, cut off, made anew and damaged."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete
from aiokafka.structs import TopicPartition as Partition

from callstream.contract.dead_letters import DeadLetter, Reason, opened
from callstream.contract.records import Record, TopicPartition
from tests.support.kafka import OwnKafka, own_kafka
from tests.support.pipeline import Pipeline, pipeline_on
from tests.support.processes import run_to_end
from tests.support.receiver import Receiver, receiving
from tests.support.topics import content
from tests.support.waiting import eventually

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900), pytest.mark.asyncio(loop_scope="session")]


class World:
    """A broker, a pipeline on it, a receiver, and the dead letters of one test."""

    def __init__(self, directory: Path, kafka: OwnKafka, pipeline: Pipeline, receiver: Receiver) -> None:
        self.directory = directory
        self.kafka = kafka
        self.pipeline = pipeline
        self.receiver = receiver
        self.bootstrap = kafka.bootstrap
        self.letters_before = 0

    async def submit(self, count: int) -> None:
        await self.pipeline.submit_many(range(count), self.receiver.url)

    async def delivered(self) -> None:
        def all_came() -> bool:
            return not self.pipeline.lost(self.receiver.bodies)

        await eventually(all_came, 120, lambda: self.pipeline.tasks.log_tail() + self.pipeline.callbacks.log_tail())
        assert not self.pipeline.wrong(self.receiver.bodies)

    async def records(self, topic: str) -> list[Record]:
        return [
            Record(TopicPartition(each.topic, each.partition), each.offset, each.key, each.value, each.headers, 0.0)
            for each in await content(self.bootstrap, topic)
        ]

    async def letters(self) -> list[DeadLetter]:
        """Return what has come to `task.dead-letters` in this test."""
        new = (await self.records("task.dead-letters"))[self.letters_before :]
        return [letter for letter in map(opened, new) if letter is not None]

    async def letter(self) -> DeadLetter:
        """Return the only one."""
        (letter,) = await eventually(self.letters, 60)
        assert isinstance(letter, DeadLetter)
        return letter

    async def end(self, topic: str) -> int:
        async with AIOKafkaConsumer(bootstrap_servers=self.bootstrap) as consumer:
            return int((await consumer.end_offsets([Partition(topic, 0)]))[Partition(topic, 0)])


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    directory = tmp_path_factory.mktemp("lost-logs")
    async with (
        own_kafka(directory) as kafka,
        pipeline_on(kafka.bootstrap, directory, {"CALLSTREAM_TOPICS__PARTITIONS": "1"}) as pipeline,
    ):
        yield World(directory, kafka, pipeline, Receiver())


@pytest_asyncio.fixture(loop_scope="session")
async def world(running: World) -> AsyncIterator[World]:
    async with receiving() as receiver:
        running.receiver = receiver
        running.pipeline.expected.clear()
        running.letters_before = len(await running.records("task.dead-letters"))
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def admin(running: World) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=running.bootstrap)
    await client.start()
    yield client
    await client.close()


async def test_a_topic_that_is_made_anew_under_a_running_process_is_read_from_its_beginning(
    world: World, admin: AIOKafkaAdminClient
) -> None:
    await world.submit(28)
    await world.delivered()
    await admin.delete_topics(["calculation.requests"])
    await run_to_end("topics", env=world.pipeline.env, directory=world.directory)
    await world.submit(60)  # so many that the new log is soon longer than the old one was
    await world.delivered()
    # By the deletion, where that was seen before the topic was there again.
    assert any(event in world.pipeline.tasks.read_log() for event in ("log.cut-off", "topic.unknown"))
    assert {letter.reason for letter in await world.letters()} <= {Reason.LOST}


async def test_a_topic_that_is_deleted_holds_up_no_other_and_is_read_when_it_is_there_again(
    world: World, admin: AIOKafkaAdminClient
) -> None:
    pipeline = world.pipeline
    await world.submit(1)
    await world.delivered()
    gone = {"data.requests": pipeline.tasks, "callback.retry.10h": pipeline.callbacks}
    await admin.delete_topics(list(gone))

    def told() -> list[int]:
        return [
            sum('"topic.unknown"' in line and f'"{topic}"' in line for line in service.read_log().splitlines())
            for topic, service in gone.items()
        ]

    await eventually(lambda: all(told()), 60, pipeline.tasks.log_tail)
    await world.submit(12)
    await world.delivered()
    assert told() == [1, 1]
    pipeline.tasks.kill()
    pipeline.tasks.start()
    await pipeline.tasks.wait_until_ready()
    await world.submit(12)
    await world.delivered()
    assert "`callstream topics` creates: data.requests" in pipeline.tasks.read_log()
    await run_to_end("topics", env=pipeline.env, directory=world.directory)
    async with AIOKafkaProducer(bootstrap_servers=world.bootstrap) as producer:
        await producer.send_and_wait("data.requests", b"no request")

    async def read() -> bool:
        return "data.requests" in {letter.original.partition.topic for letter in await world.letters()}

    await eventually(read, 60, pipeline.tasks.log_tail)


async def test_a_committed_offset_beyond_the_end_passes_over_nothing(world: World) -> None:
    pipeline = world.pipeline
    await world.submit(10)
    await world.delivered()
    await pipeline.callbacks.stop()
    end, here = await world.end("task.results"), Partition("task.results", 0)
    async with AIOKafkaConsumer(
        bootstrap_servers=world.bootstrap, group_id="callstream-callbacks", enable_auto_commit=False
    ) as other:
        other.assign([here])
        await other.commit({here: end + 15})
    pipeline.callbacks.start()
    await pipeline.callbacks.wait_until_ready()
    letter = await world.letter()
    await world.submit(26)
    await world.delivered()
    assert (letter.reason, letter.original.value, letter.original.offset) == (Reason.LOST, None, end)
    assert letter.error.startswith(f"offsets {end} to {end + 14} (15 in all): ")
    assert '"log.cut-off"' in pipeline.callbacks.read_log()
    assert not world.receiver.conflicts


async def test_records_that_were_deleted_unread_are_told(world: World, admin: AIOKafkaAdminClient) -> None:
    pipeline = world.pipeline
    await world.submit(3)
    await world.delivered()
    await pipeline.tasks.stop()
    read = await world.end("calculation.requests")
    await world.submit(10)
    await admin.delete_records({Partition("calculation.requests", 0): RecordsToDelete(before_offset=read + 8)})
    pipeline.tasks.start()
    await eventually(lambda: len(world.receiver.bodies) == 5, 60, pipeline.tasks.log_tail)
    letter = await world.letter()
    assert (letter.reason, letter.original.value, letter.original.offset) == (Reason.LOST, None, read)
    assert letter.error.startswith(f"offsets {read} to {read + 7} (8 in all): ")
    assert '"records.lost"' in pipeline.tasks.read_log()


async def test_a_batch_that_is_damaged_on_the_disk_is_set_aside(world: World) -> None:
    pipeline = world.pipeline
    await pipeline.tasks.stop()
    place = await world.end("calculation.requests")
    damaged = await pipeline.submit(987654321, world.receiver.url)
    await world.submit(3)
    await world.kafka.stop()
    (segment,) = (world.directory / "kafka").glob("**/calculation.requests-0/*.log")
    segment.write_bytes(segment.read_bytes().replace(b"987654321", b"987654320"))
    await world.kafka.start()
    pipeline.tasks.start()
    del pipeline.expected[damaged]
    await world.delivered()
    letter = await world.letter()
    assert (letter.reason, letter.original.offset) == (Reason.DAMAGED, place)
    assert b"987654320" in (letter.original.value or b"")
    assert damaged not in world.receiver.bodies
