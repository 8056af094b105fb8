"""A poll has a part of every partition, and no more bytes than can be held."""

import asyncio
from collections import Counter
from types import SimpleNamespace
from typing import Any

import cramjam
import pytest
from aiokafka.consumer.fetcher import Fetcher, FetchError
from aiokafka.consumer.subscription_state import Assignment
from aiokafka.errors import TopicAuthorizationFailedError
from aiokafka.structs import TopicPartition as Partition

from stream_app import kafka_polls as module
from stream_app import kafka_records
from stream_app.inflate import inflate
from stream_app.kafka_fetched import Fetched, Limits
from stream_app.kafka_marks import Marks
from stream_app.kafka_polls import Polls
from stream_app.kafka_ready import Ready
from tests.support.batches import HEAD, batch, compressed

MIB = 2**20
LIMITS = Limits(MIB, 8 * MIB)
FOUR = [Partition("calculation.requests", number) for number in range(4)]


def zstd(raw: bytes) -> bytes:
    return compressed(raw, 4, bytes(cramjam.zstd.compress(raw[HEAD:])))


class Client:
    """A fetcher with something ready of each partition, and who polls it."""

    def __init__(self, ready: dict[Partition, bytes], limits: Limits = LIMITS) -> None:
        self.assignment = Assignment([*ready, *FOUR])
        self.ready: dict[Partition, Any] = {}
        self.waiters: list[asyncio.Future[None]] = []
        self.notified = 0
        self._limits = limits
        for partition, data in ready.items():
            self.begin(partition, data)
        subscriptions = SimpleNamespace(reassignment_in_progress=False, is_assigned=self.assignment.tps.__contains__)
        self.fetcher: Any = SimpleNamespace(
            _records=self.ready,
            _subscriptions=subscriptions,
            _wait_consume_future=None,
            _notify=self.notify,
            _create_fetch_waiter=self.waiter,
            _closed=False,
        )
        self.polls = Polls(self.fetcher, limits)

    def begin(self, partition: Partition, data: bytes) -> None:
        """Have this ready of a partition, which is read from its beginning."""
        state = self.assignment.state_value(partition)
        state.seek(0)
        fetched = Fetched(partition, data, 0, end=10**6, aborted=(), limits=self._limits, gaps={}, marks=Marks())
        self.ready[partition] = Ready(partition, assignment=self.assignment, partition_records=fetched, backoff=0)

    def notify(self, _: object) -> None:
        self.notified += 1

    def waiter(self) -> asyncio.Future[None]:
        self.waiters.append(asyncio.get_running_loop().create_future())
        return self.waiters[-1]

    async def poll(self, most: int = 100, *partitions: Partition) -> dict[int, list[int]]:
        """Return the offsets of each partition."""
        polled = await self.polls.poll(partitions or FOUR, max_records=most)
        return {partition.partition: [each.offset for each in records] for partition, records in polled.items()}

    @property
    def inflated(self) -> int:
        return sum(each.inflated for each in self.ready.values())


async def test_a_backlog_in_one_partition_leaves_every_other_its_part() -> None:
    client = Client({FOUR[0]: batch(*[b"x"] * 1_000), **{each: batch(b"x", b"x") for each in FOUR[1:]}})
    assert {number: len(offsets) for number, offsets in (await client.poll()).items()} == {0: 94, 1: 2, 2: 2, 3: 2}
    assert await client.poll() == {0: list(range(94, 194))}


async def test_partitions_with_much_in_them_are_polled_in_turn() -> None:
    client = Client({each: batch(*[b"x"] * 1_000) for each in FOUR})
    total: Counter[int] = Counter()
    for _ in range(10):
        polled = await client.poll(7)
        assert sum(map(len, polled.values())) == 7
        for number, offsets in polled.items():
            assert offsets == list(range(total[number], total[number] + len(offsets)))
            total[number] += len(offsets)
    each = [total[partition.partition] for partition in FOUR]
    assert max(each) - min(each) <= 4


async def test_a_poll_has_no_more_bytes_than_can_be_held_and_always_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 100_000)
    client = Client({each: batch(*[b"x" * 60_000] * 3) for each in FOUR})
    found = [await client.poll() for _ in range(6)]
    assert [sorted(polled) for polled in found] == [[0, 1], [2, 3]] * 3
    assert [sum(map(len, polled.values())) for polled in found] == [2] * 6
    client = Client({FOUR[0]: batch(b"x" * 300_000, b"x")})
    assert await client.poll() == {0: [0]}
    assert await client.poll() == {0: [1]}


async def test_headers_count_for_what_they_are_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 100_000)
    client = Client({FOUR[0]: batch(*[b"x"] * 9, headers=[("", None)] * 500)})
    assert await client.poll() == {0: [0]}


async def test_only_a_few_batches_stay_inflated_and_all_are_read_to_their_end() -> None:
    """A few kilobytes in each partition unfold to megabytes."""
    limits = Limits(kept=MIB, inflated=MIB)
    client = Client({each: zstd(batch(*[b"x" * 100_000] * 9)) for each in FOUR}, limits)
    read: dict[int, list[int]] = {}
    while client.ready:
        for number, offsets in (await client.poll(4)).items():
            read.setdefault(number, []).extend(offsets)
        assert client.inflated <= 2 * limits.inflated
    assert read == {number: list(range(9)) for number in range(4)}


@pytest.fixture
def inflations(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """Count how often the batches of each size are inflated."""
    counts: Counter[int] = Counter()

    def counted(codec: int, data: memoryview, limit: int) -> memoryview:
        found = inflate(codec, data, limit)
        counts[len(found)] += 1
        return found

    monkeypatch.setattr(kafka_records, "inflate", counted)
    return counts


LARGE = zstd(batch(*[b"x" * 200] * 4_500))  # nearly as much as a batch may inflate to
TIGHT = Limits(kept=MIB, inflated=MIB)


async def test_what_cannot_all_stay_inflated_is_inflated_as_often_as_it_has_turns(inflations: Counter[int]) -> None:
    """Or a batch would be inflated for each slice, a thousand times."""
    client = Client(dict.fromkeys(FOUR, LARGE), TIGHT)
    read: Counter[int] = Counter()
    ahead = 0
    while client.ready:
        for number, offsets in (await client.poll(20)).items():
            assert offsets == list(range(read[number], read[number] + len(offsets)))
            read[number] += len(offsets)
        ahead = max(ahead, max(read.values()) - min(read[each.partition] for each in FOUR))
        assert client.inflated <= 2 * TIGHT.inflated
    assert read == dict.fromkeys(range(4), 4_500)
    assert inflations.total() < 4 * 50
    assert ahead < 1_000  # and nobody waits until others are at their end


async def test_a_small_batch_goes_on_while_large_ones_wait_for_their_turn() -> None:
    client = Client({**dict.fromkeys(FOUR[:3], LARGE), FOUR[3]: zstd(batch(*[b"x"] * 100))}, TIGHT)
    for _ in range(10):  # until two are inflated, and the third waits
        await client.poll(8)
    assert [each.waiting > 0 for each in client.ready.values()].count(True) == 1
    while FOUR[3] in client.ready:
        assert 3 in await client.poll(8) or FOUR[3] not in client.ready


async def test_a_large_batch_has_its_turn_although_others_begin_all_the_time() -> None:
    client = Client(dict.fromkeys(FOUR[:3], LARGE), TIGHT)
    for _ in range(10):
        await client.poll(8)
    (waiting,) = [partition for partition, each in client.ready.items() if each.waiting]
    for _ in range(200):
        client.begin(FOUR[3], LARGE)  # as when it was held, and goes on
        if waiting.partition in await client.poll(8):
            return
    pytest.fail("it was never polled")


async def test_those_that_are_not_polled_give_way() -> None:
    """A reader of one partition after the other, in the order of time, asks for one of them at a time."""
    client = Client(dict.fromkeys(FOUR, LARGE), TIGHT)
    for round_ in range(3):
        for each in FOUR:
            assert await client.poll(8, each) == {each.partition: list(range(8 * round_, 8 * round_ + 8))}
            assert client.inflated <= 2 * TIGHT.inflated


async def test_what_is_paused_or_moved_is_let_go_and_what_is_not_wanted_is_kept() -> None:
    client = Client({each: batch(b"x") for each in FOUR})
    client.assignment.state_value(FOUR[0]).pause()
    client.assignment.state_value(FOUR[1]).seek(7)
    assert await client.poll(100, *FOUR[:3]) == {2: [0]}
    assert list(client.ready) == [FOUR[3]]
    client.fetcher._subscriptions.is_assigned = lambda _: False
    assert await client.poll(100, FOUR[0]) == {}
    assert not client.ready
    assert client.notified == 3


async def test_a_partition_that_may_not_be_read_is_told_behind_what_was_polled() -> None:
    client = Client({FOUR[0]: batch(b"x")})
    client.ready[FOUR[1]] = FetchError(error=TopicAuthorizationFailedError("calculation.requests"), backoff=0)
    assert await client.poll() == {0: [0]}
    with pytest.raises(TopicAuthorizationFailedError):
        await client.poll()
    assert await client.poll() == {}


async def test_a_poll_waits_for_what_is_fetched() -> None:
    client = Client({FOUR[0]: batch(b"x")})
    ready = client.ready.pop(FOUR[0])
    polling = asyncio.create_task(client.polls.poll(FOUR, timeout=60, max_records=100))
    while not client.waiters:
        await asyncio.sleep(0)
    client.ready[FOUR[0]] = ready
    client.waiters[0].set_result(None)
    assert [each.offset for each in (await polling)[FOUR[0]]] == [0]
    assert await client.polls.poll(FOUR, timeout=0.001, max_records=100) == {}
    assert client.waiters[1].cancelled()


async def test_the_client_polls_through_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The names are private: a release of aiokafka that changes them must not pass unseen."""
    monkeypatch.setattr(Fetcher, "_fetch_requests_routine", lambda _: asyncio.sleep(0))
    client: Any = SimpleNamespace(_loop=asyncio.get_running_loop(), _metadata_max_age_ms=1)
    fetcher = Fetcher(client, SimpleNamespace(register_fetch_waiters=lambda _: None))
    assert callable(fetcher.fetched_records)
    for name in ("_notify", "_create_fetch_waiter"):
        assert callable(getattr(fetcher, name))
    assert fetcher._closed is False
    polls = Polls(fetcher, Limits(1, 1))
    polls.take_the_place()
    assert fetcher.fetched_records == polls.poll
    await fetcher._fetch_task
