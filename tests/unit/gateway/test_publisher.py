"""What is wrong with one topic is nothing to the others."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from callstream.contract.records import OutgoingRecord
from callstream.runtime.settings import Settings
from gateway import publisher
from gateway.budget import Budget
from gateway.ending import FLUSH
from gateway.publisher import KafkaPublisher, OutcomeUnknownError, RefusedError
from tests.support.waiting import eventually

SETTINGS = Settings.model_validate({"gateway": {"deadline": 0.2, "in_flight": 8}})
STUCK, SOUND = "data.requests", "calculation.requests"


class Producer:
    """Takes everything, and acknowledges what goes to topics that have a leader."""

    died = False

    def __init__(self, **_: Any) -> None:
        self.leaderless = {STUCK}
        self.waiting: list[asyncio.Future[object]] = []
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.ended = False
        self.time_to_end = 0.0
        cluster = SimpleNamespace(partitions_for_topic=lambda _: {0})
        self.client = SimpleNamespace(set_topics=lambda _: None, force_metadata_update=self._yes, cluster=cluster)

    async def _yes(self) -> bool:
        return True

    async def start(self) -> None:
        return

    async def end(self, within: float) -> None:
        self.time_to_end = within
        await self.may_end.wait()
        for sent in self.waiting:
            sent.set_result(None)
        self.ended = True

    async def send(self, topic: str, *_: object, **__: object) -> asyncio.Future[object]:
        sent: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        if topic not in self.leaderless:
            sent.set_result(None)
        else:
            self.waiting.append(sent)
        return sent


def unexpected(error: BaseException) -> None:
    raise error


@pytest.fixture
async def to_kafka(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[KafkaPublisher]:
    monkeypatch.setattr(publisher, "Producer", Producer)
    made = KafkaPublisher(SETTINGS, [STUCK, SOUND], Budget(SETTINGS.gateway.in_flight_bytes))
    async with made.running(unexpected):
        await eventually(lambda: made.trouble is None)
        yield made


async def publish(to: KafkaPublisher, topic: str, value: bytes = b"{}") -> None:
    record = OutgoingRecord(topic, b"k", value, ())
    await to.publish(record, "127.0.0.1", asyncio.get_running_loop().time() + SETTINGS.gateway.deadline.total_seconds())


async def test_a_topic_that_is_not_acknowledged_is_refused_alone(to_kafka: KafkaPublisher) -> None:
    with pytest.raises(OutcomeUnknownError):
        await publish(to_kafka, STUCK)
    await eventually(lambda: to_kafka._trouble_of(STUCK) is not None)
    with pytest.raises(RefusedError, match=f"does not acknowledge what is sent to {STUCK}"):
        await publish(to_kafka, STUCK)
    await publish(to_kafka, SOUND)
    assert to_kafka.trouble is None


async def test_where_no_topic_is_acknowledged_it_is_not_ready(to_kafka: KafkaPublisher) -> None:
    producer: Any = to_kafka._producer
    producer.leaderless = {STUCK, SOUND}
    await asyncio.gather(publish(to_kafka, STUCK), publish(to_kafka, SOUND), return_exceptions=True)
    await eventually(lambda: to_kafka.trouble is not None)


async def test_what_waits_for_one_topic_leaves_room_for_another(to_kafka: KafkaPublisher) -> None:
    waiting = [asyncio.create_task(publish(to_kafka, STUCK)) for _ in range(SETTINGS.gateway.in_flight)]
    await asyncio.sleep(0)
    await publish(to_kafka, SOUND)
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(each) for each in found} == {OutcomeUnknownError, RefusedError}


async def test_what_arrives_gives_up_for_the_record_of_a_request_that_is_there(to_kafka: KafkaPublisher) -> None:
    budget = to_kafka._budget

    class HalfBody:
        gave_up = 0

        def give_up(self) -> None:
            HalfBody.gave_up += 1
            budget.release("192.0.2.1", 2**20)

    while not HalfBody.gave_up:
        assert budget.reserve_arriving("192.0.2.1", 2**20, 2**20, HalfBody())
    await publish(to_kafka, SOUND, b"x" * 8 * 2**20)
    assert HalfBody.gave_up > 2


async def test_a_producer_that_has_died_holds_up_no_other_while_it_ends(to_kafka: KafkaPublisher) -> None:
    dead: Any = to_kafka._producer
    dead.may_end.clear()
    record = OutgoingRecord(STUCK, b"k", b"{}", ())
    under_way = asyncio.create_task(to_kafka.publish(record, "127.0.0.1", asyncio.get_running_loop().time() + 60))
    await eventually(lambda: dead.waiting)
    dead.died = True
    await eventually(lambda: to_kafka._producer not in (dead, None))
    await publish(to_kafka, SOUND)
    assert not dead.ended
    dead.may_end.set()
    await under_way


async def test_a_producer_that_has_died_is_ended_before_all_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "Producer", Producer)
    made = KafkaPublisher(SETTINGS, [STUCK, SOUND], Budget(SETTINGS.gateway.in_flight_bytes))
    over = asyncio.Event()

    async def run() -> None:
        async with made.running(unexpected):
            await over.wait()

    running = asyncio.create_task(run())
    await eventually(lambda: made.trouble is None)
    dead: Any = made._producer
    dead.may_end.clear()
    dead.died = True
    await eventually(lambda: made._producer not in (dead, None))
    last: Any = made._producer
    over.set()
    await eventually(lambda: last.ended)
    assert not running.done()
    dead.may_end.set()
    await running
    assert dead.ended


@pytest.mark.parametrize(("deadline", "within"), [(0.2, 0.2), (60, FLUSH)])
async def test_at_the_end_the_producer_has_no_more_time_than_a_stop_leaves(
    deadline: float, within: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "Producer", Producer)
    settings = Settings.model_validate({"gateway": {"deadline": deadline}})
    made = KafkaPublisher(settings, [SOUND], Budget(settings.gateway.in_flight_bytes))
    async with made.running(unexpected):
        await eventually(lambda: made.trouble is None)
        producer: Any = made._producer
    assert producer.time_to_end == within


@pytest.mark.parametrize("error", [UnicodeError, asyncio.CancelledError])
async def test_a_watch_that_ends_is_a_failure(error: type[BaseException], monkeypatch: pytest.MonkeyPatch) -> None:
    async def start(_: object) -> None:
        raise error

    monkeypatch.setattr(publisher, "Producer", Producer)
    monkeypatch.setattr(Producer, "start", start)
    failures: list[BaseException] = []
    async with KafkaPublisher(SETTINGS, [SOUND], Budget(0)).running(failures.append):
        await eventually(lambda: failures)
    assert [type(failure) for failure in failures] == [error]
