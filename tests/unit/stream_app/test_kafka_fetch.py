"""How answers are fetched, and where a partition goes on whose log is not what it was."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from aiokafka.consumer.fetcher import Fetcher, FetchResult
from aiokafka.consumer.subscription_state import Assignment
from aiokafka.errors import KafkaError, OffsetOutOfRangeError, UnknownTopicOrPartitionError
from aiokafka.protocol.fetch import FetchRequest, FetchRequest_v4
from aiokafka.structs import TopicPartition as Partition

from callstream.contract.records import Gap
from stream_app import kafka_fetch as module
from stream_app.kafka_fetch import Fetches
from stream_app.kafka_fetched import Limits
from stream_app.kafka_polls import Polls
from tests.support.batches import batch

HERE = Partition("calculation.requests", 0)
BROKER = 1


class Log:
    """A broker with one partition, and a fetcher that has it assigned."""

    def __init__(self, begin: int, end: int, position: int) -> None:
        self.begin, self.end = begin, end
        self.code: int | None = None  # in place of what it would say
        self.assignment = Assignment([HERE])
        self.state = self.assignment.state_value(HERE)
        self.state.seek(position)
        self.records: dict[Partition, FetchResult] = {}
        self.updates = 0
        self.moved: dict[Partition, Gap] = {}
        cluster = SimpleNamespace(leader_for_partition=lambda _: BROKER)
        client = SimpleNamespace(send=self.send, cluster=cluster, force_metadata_update=self.update)
        self.fetches = Fetches(
            SimpleNamespace(_client=client, _records=self.records, _retry_backoff=0, _proc_offset_request=self.edge),
            Limits(kept=100, inflated=100),
            self.moved,
        )

    def update(self) -> None:
        self.updates += 1

    async def send(self, _: int, request: Any) -> Any:
        ((topic, ((partition, offset, _),)),) = request.topics
        code = self.code
        if code is None:
            code = 0 if self.begin <= offset <= self.end else OffsetOutOfRangeError.errno
        data = batch(*[b"x"] * (self.end - offset), base=offset) if not code and offset < self.end else b""
        answer = (partition, code, self.end, self.end, self.begin, None, -1, data)
        return SimpleNamespace(API_VERSION=11, topics=[(topic, [answer])])

    async def edge(self, _: int, asked: dict[str, list[tuple[int, int]]]) -> dict[Partition, tuple[int, int]]:
        (((_, edge),),) = asked.values()
        return {HERE: (self.begin if edge == -2 else self.end, -1)}

    async def fetch(self) -> bool:
        request = SimpleNamespace(topics=[(HERE.topic, [(HERE.partition, self.state.position, 2**20)])])
        return await self.fetches.fetch(self.assignment, BROKER, request)

    async def poll(self) -> list[int | Gap]:
        """Return the offsets, and the gaps, of what is fetched until nothing more comes."""
        found: list[int | Gap] = []
        for _ in range(3):
            await self.fetch()
            if (result := self.records.pop(HERE, None)) is not None:
                found += [each.checksum or each.offset for each in result.getall()]
        return found


async def test_records_that_were_deleted_unread_are_told_and_those_that_are_left_are_read() -> None:
    log = Log(begin=8, end=10, position=2)
    with structlog.testing.capture_logs() as said:
        gap, *offsets = await log.poll()
    assert isinstance(gap, Gap)
    assert (gap.first, gap.until, gap.following, gap.lost, gap.anew) == (2, 8, 8, True, False)
    assert offsets == [8, 9]
    (line,) = said
    assert (line["event"], line["log_level"], line["first"], line["until"], line["count"]) == (
        "records.lost",
        "error",
        2,
        8,
        6,
    )


async def test_a_log_that_is_shorter_than_it_was_is_read_again() -> None:
    log = Log(begin=0, end=3, position=25)
    with structlog.testing.capture_logs() as said:
        gap, *offsets = await log.poll()
    assert isinstance(gap, Gap)
    assert (gap.first, gap.until, gap.following, gap.lost, gap.anew) == (3, 25, 0, True, True)
    assert offsets == [0, 1, 2]
    assert [(line["event"], line["log_level"], line["count"]) for line in said] == [("log.cut-off", "error", 22)]
    assert log.moved == {HERE: gap}


async def test_a_log_that_is_empty_is_told_too() -> None:
    log = Log(begin=0, end=0, position=25)
    (gap,) = await log.poll()
    assert isinstance(gap, Gap)
    assert await log.poll() == []


async def test_a_gap_waits_for_a_partition_that_is_paused_and_for_one_that_was_sought_back() -> None:
    log = Log(begin=0, end=3, position=25)
    log.state.pause()
    await log.fetch()
    assert log.records.pop(HERE).getall() == [], "the client drops what it has of a paused partition"
    log.state.resume()
    log.end = 30
    log.state.seek(25)  # as Faust does, to what is committed
    gap, *offsets = await log.poll()
    assert isinstance(gap, Gap)
    assert offsets == list(range(30))


@pytest.mark.parametrize(("seen", "until", "many"), [(7, 7, "at least 2"), (None, 5, "nobody knows how many")])
async def test_a_topic_that_was_made_anew_is_read_from_its_beginning_though_it_is_longer_than_the_old_one(
    seen: int | None, until: int, many: str
) -> None:
    log = Log(begin=0, end=10, position=5)
    if seen is not None:
        log.fetches._ends[HERE] = seen
    await log.fetches.begin_again(log.assignment, HERE)
    gap = (await log.poll())[0]
    assert isinstance(gap, Gap)
    assert (gap.first, gap.until, gap.following, gap.anew) == (5, until, 0, True)
    assert many in gap.why
    assert log.moved == {HERE: gap}


async def test_a_partition_is_read_again_until_whoever_commits_has_taken_note() -> None:
    log = Log(begin=0, end=3, position=25)
    (gap, *_) = await log.poll()
    log.end = 30
    log.state.seek(25)  # as Faust does when it has dropped what was polled
    assert await log.fetches.stay_moved() == {HERE: 0}
    assert await log.poll() == [gap, *range(30)]
    log.assignment._unassign()
    log.assignment = Assignment([HERE])
    log.state = log.assignment.state_value(HERE)
    log.state.seek(25)  # it could not be committed before the group has rebalanced
    assert await log.poll() == [gap, *range(30)]
    log.moved.clear()
    assert await log.fetches.stay_moved() == {}


async def test_what_a_broker_refuses_is_said_once_and_asked_again_after_a_pause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = Log(begin=0, end=2, position=0)
    log.code = UnknownTopicOrPartitionError.errno
    pauses = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", pause)
    with structlog.testing.capture_logs() as said:
        assert await log.poll() == []
    assert pauses.count(log.fetches._fetcher._retry_backoff) == 3
    assert [line["event"] for line in said] == ["partition.unavailable"]
    assert log.updates == 3
    log.code = None
    assert await log.poll() == [0, 1]


async def test_a_broker_that_is_away_is_asked_again() -> None:
    log = Log(begin=0, end=2, position=0)

    async def refuse(_broker: int, _request: object) -> None:
        raise KafkaError

    send, log.fetches._client.send = log.fetches._client.send, refuse
    assert not await log.fetch()
    log.fetches._client.send = send
    assert await log.poll() == [0, 1]


async def test_a_fetch_that_is_cancelled_ends_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client awaits those that it cancels when it closes, and would not close."""
    log = Log(begin=0, end=2, position=0)
    monkeypatch.setattr(module, "_PACE", 60)
    assert await log.fetch()
    waiting = asyncio.create_task(log.fetch())
    await asyncio.sleep(0)
    waiting.cancel()
    assert await waiting is False


async def test_fetches_keep_a_pace_at_each_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    now, slept = 100.0, []

    async def sleep(seconds: float) -> None:
        nonlocal now
        slept.append(round(max(0.0, seconds), 6))
        now += max(0.0, seconds)

    async def take(*_: object) -> bool:
        nonlocal now
        now += 0.004
        return True

    log = Log(begin=0, end=2, position=0)
    request = SimpleNamespace(topics=[(HERE.topic, [(HERE.partition, 0, 2**20)])])
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(module, "asyncio", SimpleNamespace(sleep=sleep, CancelledError=asyncio.CancelledError))
    monkeypatch.setattr(log.fetches, "_take", take)
    for broker in (1, 1, 2, 1):
        assert await log.fetches.fetch(log.assignment, broker, request)
    now += 1
    await log.fetches.fetch(log.assignment, 1, request)
    assert slept == [0.0, module._PACE, 0.0, round(module._PACE - 0.004, 6), 0.0]


async def test_a_broker_is_asked_beside_what_is_unpolled_without_a_wait_and_not_again_soon() -> None:
    log = Log(begin=0, end=2, position=0)
    asked = []

    async def send(_: int, request: FetchRequest) -> object:
        asked.append(request.build(FetchRequest_v4).max_wait_time)
        return SimpleNamespace(API_VERSION=11, topics=[])

    def others() -> FetchRequest:
        return FetchRequest(1_500, 1, 2**20, 1, [("task.results", [(0, 0, 2**20)])])

    await log.fetch()
    log.fetches._client.send = send
    log.records[HERE]._created -= module.ALL_POLLED
    assert not log.records[HERE].calculate_backoff(), "the broker may be asked again"
    await log.fetches.fetch(log.assignment, BROKER, others())
    assert log.records[HERE].calculate_backoff() > 0
    await log.fetches.fetch(log.assignment, BROKER + 1, others())
    del log.records[HERE]
    await log.fetches.fetch(log.assignment, BROKER, others())
    assert asked == [0, 1_500, 1_500]


async def test_the_client_fetches_through_it_and_waits_until_all_is_polled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The names are private: a release of aiokafka that changes them must not pass unseen."""
    monkeypatch.setattr(Fetcher, "_fetch_requests_routine", lambda _: asyncio.sleep(0))
    client: Any = SimpleNamespace(_loop=asyncio.get_running_loop(), _metadata_max_age_ms=1)
    fetcher = Fetcher(client, SimpleNamespace(register_fetch_waiters=lambda _: None))
    assert fetcher._prefetch_backoff < module.ALL_POLLED
    assert callable(fetcher._proc_fetch_request)
    assert callable(fetcher._proc_offset_request)
    fetches = Fetches(fetcher, Limits(1, 1), {})
    fetches.take_the_place()
    assert fetcher._prefetch_backoff == module.ALL_POLLED
    assert fetcher._proc_fetch_request == fetches.fetch
    assert isinstance(fetcher.fetched_records.__self__, Polls), "who fetches through it polls through it"
    await fetcher._fetch_task
