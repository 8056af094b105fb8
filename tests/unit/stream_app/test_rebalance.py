"""What a rebalance leaves where it was goes on."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from callstream.contract.records import Record, TopicPartition
from callstream.sharing.room import Room, Size
from stream_app.kafka_app import KafkaApp
from stream_app.workload import Workload
from tests.support.waiting import eventually

KEPT, LOST = TopicPartition("requests", 0), TopicPartition("requests", 1)


class Flow:
    def hold(self, partition: TopicPartition) -> None:
        pass

    def release(self, partition: TopicPartition, again_from: int | None = None) -> None:
        pass


@pytest.mark.parametrize(
    ("generation", "goes_on"),
    [
        pytest.param(4, {KEPT}, id="the next generation of the group"),
        pytest.param(5, set(), id="a generation without us, in which another may have had it"),
    ],
)
async def test_work_goes_on_in_partitions_that_stay(generation: int, goes_on: set[TopicPartition]) -> None:
    begun: list[TopicPartition] = []
    done: list[TopicPartition] = []
    gate = asyncio.Event()

    async def work(item: Record) -> None:
        begun.append(item.partition)
        await gate.wait()
        done.append(item.partition)

    room = Room(Size(10, 2**20), lanes=1)
    workload = Workload(work, span=10, room=room, flow=Flow(), fail=lambda _: None)
    records = [Record(name, 7, None, b"", (), 0.0) for name in (KEPT, LOST)]
    for record in records:
        workload.admit(record)
    await asyncio.sleep(0)
    await workload.drain(0)
    app: Any = SimpleNamespace(workload=workload, missing=frozenset(), _generation=3)
    KafkaApp.keep(app, {TP(*KEPT)}, generation)
    workload.resume()
    workload.admit(records[0])  # it is read again from what is committed
    gate.set()
    await eventually(lambda: workload.running == 0)
    assert begun.count(KEPT) == (1 if goes_on else 2)
    assert set(done) == {KEPT}
    assert workload.positions() == {KEPT: 8}


async def test_what_was_read_of_a_topic_that_is_gone_is_done_and_no_more_committed() -> None:
    done: list[int] = []
    gate = asyncio.Event()

    async def work(item: Record) -> None:
        await gate.wait()
        done.append(item.offset)

    workload = Workload(work, span=1, room=Room(Size(10, 2**20), lanes=1), flow=Flow(), fail=lambda _: None)
    for offset in (7, 8):  # the second one waits
        workload.admit(Record(LOST, offset, None, b"", (), 0.0))
    await asyncio.sleep(0)
    await workload.drain(0)
    app: Any = SimpleNamespace(workload=workload, missing=frozenset({LOST.topic}), _generation=3)
    KafkaApp.keep(app, set(), 4)
    workload.forget_waiting()
    workload.resume()
    assert not workload.positions()
    gate.set()
    await eventually(lambda: done == [7, 8])
