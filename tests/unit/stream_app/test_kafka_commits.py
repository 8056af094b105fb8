"""A commit ends in time, and one topic that is gone holds up no other."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import CommitFailedError, GroupLoadInProgressError, RebalanceInProgressError
from aiokafka.errors import UnknownTopicOrPartitionError as Unknown
from aiokafka.structs import OffsetAndMetadata
from aiokafka.structs import TopicPartition as Partition

from stream_app.kafka_commits import Commits, CommitsStuckError

HERE, GONE = Partition("calculation.requests", 0), Partition("data.requests", 3)
OFFSETS = {HERE: OffsetAndMetadata(7, ""), GONE: OffsetAndMetadata(9, "")}


class Group:
    """Stands for the broker of a group, behind aiokafka's own commit; `codes` are what it answers."""

    def __init__(self) -> None:
        self.codes: dict[Partition, int] = {}
        self.stored: dict[Partition, int] = {}
        self.answers = asyncio.Event()
        self.answers.set()
        self.there = True
        self.now = 1000.0
        self._coordinator: Any = object.__new__(GroupCoordinator)
        vars(self._coordinator).update(
            group_id="callstream-tasks",
            generation=1,
            member_id="m",
            coordinator_id=1,
            _commit_lock=asyncio.Lock(),
            _retry_backoff_ms=1,
            ensure_coordinator_known=self._known,
            request_rejoin=lambda: None,
            _send_req=self._answer,
        )
        self._client = SimpleNamespace(force_metadata_update=self._metadata)
        self.commits = Commits(self, clock=lambda: self.now, within=0.05)

    async def commit(self, offsets: dict[Partition, OffsetAndMetadata]) -> None:
        await self._coordinator.commit_offsets(None, offsets)

    async def _known(self) -> None:
        await asyncio.sleep(0)

    async def _answer(self, request: Any) -> Any:
        await self.answers.wait()
        topics = request._topics
        for topic, partitions in topics:
            for number, offset, _ in partitions:
                if not self.codes.get(Partition(topic, number)):
                    self.stored[Partition(topic, number)] = offset
        return SimpleNamespace(
            topics=[
                (topic, [(number, self.codes.get(Partition(topic, number), 0)) for number, *_ in partitions])
                for topic, partitions in topics
            ]
        )

    async def _metadata(self) -> bool:
        return self.there


async def test_a_partition_that_the_broker_does_not_know_holds_up_no_other() -> None:
    group = Group()
    group.codes[GONE] = Unknown.errno
    assert await group.commits.commit(OFFSETS)
    assert (group.stored, group.commits.unknown) == ({HERE: 7}, frozenset({GONE}))
    group.codes.clear()
    assert await group.commits.commit(OFFSETS)
    assert (group.stored, group.commits.unknown) == ({HERE: 7, GONE: 9}, frozenset())


async def test_a_commit_that_is_not_answered_is_given_up_and_the_next_one_can_be() -> None:
    group = Group()
    group.answers.clear()
    assert not await group.commits.commit(OFFSETS)
    group.answers.set()
    assert await group.commits.commit(OFFSETS)


async def test_a_group_that_rebalances_is_told_as_ever() -> None:
    group = Group()
    group.codes[HERE] = RebalanceInProgressError.errno
    with pytest.raises(CommitFailedError):
        await group.commits.commit(OFFSETS)


async def test_commits_that_come_to_nothing_for_long_end_the_process_where_brokers_answer() -> None:
    group = Group()
    group.codes[HERE] = GroupLoadInProgressError.errno
    assert not await group.commits.commit(OFFSETS)
    group.now += 61
    with pytest.raises(CommitsStuckError, match="61 s"):
        await group.commits.commit(OFFSETS)


async def test_commits_wait_for_as_long_as_no_broker_answers() -> None:
    group = Group()
    group.answers.clear()
    group.there = False
    for _ in range(3):
        assert not await group.commits.commit(OFFSETS)
        group.now += 3600
    group.answers.set()
    assert await group.commits.commit(OFFSETS)


async def test_an_answer_that_came_too_late_counts_for_the_next_commit() -> None:
    group = Group()
    group.answers.clear()
    assert not await group.commits.commit(OFFSETS)
    group.answers.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    group.answers.clear()
    group.now += 61
    assert not await group.commits.commit(OFFSETS)
