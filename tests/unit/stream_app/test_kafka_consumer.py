"""How the client is made to poll, and what is committed where a log was made anew."""

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.structs import OffsetAndMetadata
from aiokafka.structs import TopicPartition as Partition
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from callstream.contract.records import Gap, TopicPartition
from stream_app.kafka_consumer import Consumer
from stream_app.kafka_thread import ConsumerThread


async def test_what_is_paused_is_polled_too(monkeypatch: pytest.MonkeyPatch) -> None:
    polled: list[set[str]] = []

    async def fetch(_thread: object, _consumer: object, partitions: set[str], **_: object) -> dict[str, str]:
        polled.append(partitions)
        return {}

    monkeypatch.setattr(driver.AIOKafkaConsumerThread, "_fetch_records", fetch)
    consumer = SimpleNamespace(paused=lambda: {"held"})
    active: Any = {"active"}
    await object.__new__(ConsumerThread)._fetch_records(consumer, active, timeout=1.0)
    assert polled == [{"active", "held"}]
    assert active == {"active"}, "Faust's own set"


async def test_a_log_that_is_read_again_is_committed_from_its_beginning_until_that_is_durable() -> None:
    here = TP("requests", 0)
    commits: list[tuple[int, str]] = []
    answers = [False, True, True]

    async def commit(noted: Mapping[TP, OffsetAndMetadata]) -> bool:
        commits.append(noted[here])
        return answers.pop(0)

    consumer: Any = object.__new__(Consumer)
    consumer._committing = asyncio.Lock()
    consumer._begun_again = set()
    consumer._found = {here: 25}
    moved = {Partition(*here): Gap(25, 25, 0, "made anew", lost=True, anew=True)}
    consumer._saved = {}
    known = SimpleNamespace(unknown=frozenset())
    consumer._thread = SimpleNamespace(commit=commit, commits=known, moved=moved, ids={"requests": "0" * 32})
    consumer.app = SimpleNamespace(
        suspects=SimpleNamespace(note=lambda *_: "", forget=lambda _: None),
        workload=SimpleNamespace(positions=lambda: {TopicPartition(*here): 7}),
    )
    assert not await consumer._commit({here: 25}), "the group rebalances"
    await consumer.begun_again(TopicPartition(*here))
    assert not moved, "the workload knows, and it is durable"
    await consumer.save()
    assert commits == [(0, " topic=" + "0" * 32), (0, " topic=" + "0" * 32), (7, " topic=" + "0" * 32)]


async def test_what_did_not_come_through_is_committed_again_and_the_rest_only_when_it_has_moved() -> None:
    here, gone = TP("calculation.requests", 0), TP("data.requests", 3)
    at = {TopicPartition(*here): 7, TopicPartition(*gone): 9}
    answers = [False, True]

    async def commit(_: Mapping[TP, OffsetAndMetadata]) -> bool:
        return answers.pop(0)

    consumer: Any = object.__new__(Consumer)
    consumer._committing = asyncio.Lock()
    consumer._begun_again = set()
    consumer._saved = {}
    commits = SimpleNamespace(unknown={Partition(*gone)})
    consumer._thread = SimpleNamespace(commit=commit, commits=commits, moved={}, ids={})
    consumer.app = SimpleNamespace(
        suspects=SimpleNamespace(note=lambda *_: ""), workload=SimpleNamespace(positions=lambda: at)
    )
    assert not await consumer._commit(consumer._filter_committable_offsets([]))
    assert consumer._filter_committable_offsets([]) == {here: 7, gone: 9}
    assert await consumer._commit({here: 7, gone: 9})
    assert consumer._filter_committable_offsets([]) == {gone: 9}
    assert consumer.committing == 0


def taking_over(
    noted: dict[TP, OffsetAndMetadata],
    positions: Mapping[TopicPartition, int],
    **thread: Any,
) -> Any:
    """Return a consumer that keeps what is at `positions`, and notes what it commits."""

    async def commit(offsets: Mapping[TP, OffsetAndMetadata]) -> bool:
        noted.update(offsets)
        return True

    consumer: Any = object.__new__(Consumer)
    consumer._committing = asyncio.Lock()
    consumer._begun_again, consumer._saved = set(), {}
    known = SimpleNamespace(unknown=frozenset())
    consumer._thread = SimpleNamespace(commit=commit, commits=known, moved={}, **thread)
    suspects = SimpleNamespace(left_by_the_dead=lambda _: False, take_over=lambda _: None, note=lambda *_: "")
    workload = SimpleNamespace(positions=lambda: positions)
    consumer.app = SimpleNamespace(suspects=suspects, workload=workload, should_stop=False)
    return consumer


async def test_a_topic_that_nobody_tells_of_yet_is_the_one_of_the_commit_until_it_is_told() -> None:
    here = TP("requests", 0)
    noted: dict[TP, OffsetAndMetadata] = {}

    async def none(*_: object) -> dict[TP, int]:
        return {}

    async def committed(_: object) -> dict[TP, OffsetAndMetadata]:
        return {here: OffsetAndMetadata(28, " topic=" + "1" * 32)}

    consumer = taking_over(noted, {}, committed=committed, topics=none, edges=none, ids={})
    await consumer._take_over({here})
    assert consumer._thread.ids == {"requests": "1" * 32}, "so that another one is seen"
    assert noted == {here: OffsetAndMetadata(28, " topic=" + "1" * 32)}


async def test_what_is_kept_of_a_topic_whose_commits_the_brokers_forgot_is_begun_again_in_the_new_one() -> None:
    """It was deleted when the group began to rebalance, and is there again when it ends."""
    here, old, new = TP("requests", 0), "1" * 32, "2" * 32
    told: list[tuple[int, str]] = []
    noted: dict[TP, OffsetAndMetadata] = {}

    async def nothing(*_: object) -> dict[TP, int]:
        return {}

    async def topics(_: object) -> dict[str, str]:
        consumer._thread.ids = {"requests": new}
        return {"requests": new}

    async def log_made_anew(_: TP, position: int, topic: str) -> int:
        told.append((position, topic))
        return 0

    thread: dict[str, Any] = {"committed": nothing, "topics": topics, "edges": nothing, "log_made_anew": log_made_anew}
    consumer = taking_over(noted, {TopicPartition(*here): 18}, **thread, ids={"requests": old})
    await consumer._take_over({here})
    assert told == [(18, old)]
    assert noted == {here: OffsetAndMetadata(0, f" topic={new}")}


def test_a_crash_is_told_in_the_log_alone(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        int("\x1b[2J")
    except ValueError as error:
        object.__new__(ConsumerThread).on_crash("{0!r} crashed: {1!r}", "thread", error)
    assert capsys.readouterr() == ("", "")
