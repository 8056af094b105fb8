"""For any order of completions, failures and revocations: nothing unfinished is committed, all that finished is."""

import asyncio
from types import SimpleNamespace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from callstream.contract.records import Gap, Record, TopicPartition
from callstream.contract.sizes import memory_of
from callstream.sharing.room import Room, Size
from stream_app import workload as module
from stream_app.workload import Workload
from tests.support.waiting import eventually

SPAN, IN_FLIGHT = 3, 5
PARTITIONS = [TopicPartition("requests", number) for number in range(3)]


def record(partition: TopicPartition, offset: int) -> Record:
    return Record(partition, offset, None, b"", (), 0.0)


class Reader:
    """Stands for Kafka: which partitions are held, and which are to be read again from where."""

    def __init__(self) -> None:
        self.held: set[TopicPartition] = set()
        self.again: dict[TopicPartition, int] = {}

    def hold(self, partition: TopicPartition) -> None:
        self.held.add(partition)

    def release(self, partition: TopicPartition, again_from: int | None = None) -> None:
        self.held.discard(partition)
        if again_from is not None:
            self.again[partition] = again_from


class WorkloadMachine(RuleBasedStateMachine):
    """Plays Kafka against a workload: reads, completes in any order, rebalances, seeks back, commits."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.reader = Reader()
        self.failures: list[BaseException] = []
        self.under_way: list[tuple[Record, asyncio.Future[None]]] = []
        self.finished: set[tuple[TopicPartition, int]] = set()
        self.committed = dict.fromkeys(PARTITIONS, 0)
        self.read = dict.fromkeys(PARTITIONS, 0)
        self.end = dict.fromkeys(PARTITIONS, 0)  # of what was ever read
        self.workload = Workload(
            self.process,
            span=SPAN,
            room=Room(Size(IN_FLIGHT, IN_FLIGHT * memory_of(record(PARTITIONS[0], 0))), lanes=1),
            lane=lambda _: None,
            flow=self.reader,
            fail=self.failures.append,
        )

    async def process(self, work: Record) -> None:
        outcome: asyncio.Future[None] = self.loop.create_future()
        self.under_way.append((work, outcome))
        await outcome
        self.finished.add((work.partition, work.offset))

    def settle(self) -> None:
        """Let everything that can run do so."""

        async def turns() -> None:
            for _ in range(10):
                await asyncio.sleep(0)

        self.loop.run_until_complete(turns())
        self.under_way = [(work, outcome) for work, outcome in self.under_way if not outcome.done()]

    @rule(partition=st.sampled_from(PARTITIONS), count=st.integers(1, 8))
    def read_on(self, partition: TopicPartition, count: int) -> None:
        async def admit() -> None:
            again = self.reader.again.pop(partition, None)
            if again is not None:  # what was on its way when the reader was sent back comes first
                for offset in range(again + 1, self.read[partition]):
                    self.workload.admit(record(partition, offset))
                self.read[partition] = again
            for _ in range(count):
                self.workload.admit(record(partition, self.read[partition]))
                self.read[partition] += 1
            self.end[partition] = max(self.end[partition], self.read[partition])

        self.loop.run_until_complete(admit())
        self.settle()

    @rule(data=st.data())
    def complete(self, data: st.DataObject) -> None:
        if self.under_way:
            _, outcome = data.draw(st.sampled_from(self.under_way))
            outcome.set_result(None)
            self.settle()

    @rule()
    def commit(self) -> None:
        for partition, position in self.workload.positions().items():
            assert position >= self.committed[partition]
            self.committed[partition] = position

    @rule(partition=st.sampled_from(PARTITIONS), late=st.booleans())
    def revoke(self, partition: TopicPartition, late: bool) -> None:  # noqa: FBT001 - drawn
        """Take a partition away and give it back: it is read again from what was committed."""
        if late:  # a completion that races with the revocation must have no say
            for work, outcome in self.under_way:
                if work.partition == partition and not outcome.done():
                    outcome.set_result(None)

        async def revoke() -> None:
            self.workload.revoke([partition])

        self.loop.run_until_complete(revoke())
        self.reader.held.discard(partition)
        self.reader.again.pop(partition, None)
        self.read[partition] = self.committed[partition]
        self.settle()

    @rule(partition=st.sampled_from(PARTITIONS))
    def seek_back(self, partition: TopicPartition) -> None:
        """Deliver again what was not committed, as Faust does after a pause of its flow."""

        async def admit() -> None:
            for offset in range(self.committed[partition], self.read[partition]):
                self.workload.admit(record(partition, offset))

        self.loop.run_until_complete(admit())
        self.settle()

    @rule()
    def keep_over_a_rebalance(self) -> None:
        """Deliver again what was not committed, with nothing held; what is under way goes on meanwhile."""

        async def rebalance() -> None:
            await self.workload.drain(0)
            self.workload.forget_waiting()
            self.workload.resume()

        self.loop.run_until_complete(rebalance())
        self.reader.held.clear()
        self.reader.again.clear()
        self.read = dict(self.committed)
        self.settle()

    @rule()
    def drain_and_resume(self) -> None:
        async def pause() -> None:
            await self.workload.drain(0)
            self.workload.resume()

        self.loop.run_until_complete(pause())
        self.settle()

    @invariant()
    def nothing_unfinished_is_committed(self) -> None:
        for partition, position in self.workload.positions().items():
            unfinished = {offset for offset in range(position) if (partition, offset) not in self.finished}
            assert not unfinished

    @invariant()
    def in_flight_is_bounded(self) -> None:
        assert self.workload.running <= IN_FLIGHT
        for partition in PARTITIONS:
            begun = [work.offset for work, _ in self.under_way if work.partition == partition]
            assert not begun or max(begun) - min(begun) < SPAN

    @invariant()
    def no_record_is_under_way_twice(self) -> None:
        places = [(work.partition, work.offset) for work, _ in self.under_way]
        assert len(places) == len(set(places))

    @invariant()
    def what_waits_is_bounded(self) -> None:
        waiting = sum(len(each.waiting) for each in self.workload._all())
        assert waiting <= IN_FLIGHT // 2

    def teardown(self) -> None:
        while self.under_way or any(self.read[each] < self.end[each] for each in PARTITIONS) or self.reader.again:
            for _, outcome in self.under_way:
                outcome.set_result(None)
            self.settle()
            for partition in set(PARTITIONS) - self.reader.held:
                if partition in self.reader.again or self.read[partition] < self.end[partition]:
                    self.read_on(partition, 1)
        # Everything that was ever read is finished in the end, and what is to be committed says so.
        for partition, position in self.workload.positions().items():
            assert position >= self.end[partition]
        assert not self.reader.held
        assert not self.failures
        self.loop.close()


def test_any_order_of_reads_completions_and_revocations() -> None:
    run_state_machine_as_test(
        WorkloadMachine, settings=settings(max_examples=200, stateful_step_count=40, deadline=None)
    )


async def test_a_failure_ends_the_process_and_its_record_stays_unfinished() -> None:
    failures: list[BaseException] = []

    async def fail(_: Record) -> None:
        raise RuntimeError("the broker took neither result nor dead letter")

    workload = Workload(
        fail,
        span=SPAN,
        room=Room(Size(IN_FLIGHT, 2**30), lanes=1),
        lane=lambda _: None,
        flow=Reader(),
        fail=failures.append,
    )
    workload.admit(record(PARTITIONS[0], 4))
    await workload.drain(1)
    assert [type(failure) for failure in failures] == [RuntimeError]
    assert workload.positions() == {PARTITIONS[0]: 4}


async def test_a_drain_begins_nothing_and_waits_for_what_is_under_way() -> None:
    begun: list[int] = []
    gate = asyncio.Event()

    async def work(item: Record) -> None:
        begun.append(item.offset)
        await gate.wait()

    workload = Workload(
        work,
        span=1,
        room=Room(Size(IN_FLIGHT, 2**30), lanes=1),
        lane=lambda _: None,
        flow=Reader(),
        fail=lambda _: None,
    )
    workload.admit(record(PARTITIONS[0], 0))
    workload.admit(record(PARTITIONS[0], 1))
    assert not await workload.drain(0.01)
    gate.set()
    assert await workload.drain(5)
    assert begun == [0]
    assert workload.positions() == {PARTITIONS[0]: 1}


async def test_free_room_goes_to_the_partitions_in_turn() -> None:
    begun: list[tuple[int, int]] = []
    gates: list[asyncio.Event] = []

    async def work(item: Record) -> None:
        begun.append((item.partition.partition, item.offset))
        gates.append(gate := asyncio.Event())
        await gate.wait()

    workload = Workload(
        work, span=10, room=Room(Size(1, 2**30), lanes=1), lane=lambda _: None, flow=Reader(), fail=lambda _: None
    )
    for partition in PARTITIONS[:2]:
        for offset in range(3):
            workload.admit(record(partition, offset))
    while len(begun) < 6 or gates:
        await eventually(lambda: gates)
        gates.pop().set()
    assert begun == [(0, 0), (0, 1), (1, 0), (0, 2), (1, 1), (1, 2)]


class Alarm:
    """A clock that is set by hand, and each record's time to wake by its timestamp."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.begun: list[tuple[int, int]] = []
        self.reader = Reader()
        self.workload = Workload(
            self.work,
            span=10_000,
            room=Room(Size(IN_FLIGHT, 2**30), lanes=1),
            lane=lambda _: None,
            flow=self.reader,
            fail=lambda _: None,
            wake=lambda item: item.timestamp,
            clock=lambda: self.now,
        )

    async def work(self, item: Record) -> None:
        self.begun.append((item.partition.partition, item.offset))

    def admit(self, partition: TopicPartition, offset: int, wake: float) -> None:
        self.workload.admit(record(partition, offset)._replace(timestamp=wake))


async def test_thousands_that_sleep_hold_up_nobody() -> None:
    alarm = Alarm()
    for offset in range(5_000):
        alarm.admit(PARTITIONS[0], offset, alarm.now + 600)
    for offset in range(50):
        alarm.admit(PARTITIONS[1], offset, 0)
    await eventually(lambda: len(alarm.begun) == 50)
    assert {partition for partition, _ in alarm.begun} == {1}
    assert alarm.reader.held == {PARTITIONS[0]}
    assert PARTITIONS[0] not in alarm.workload.positions()


async def test_who_sleeps_is_begun_when_it_is_time_and_those_behind_in_order() -> None:
    alarm = Alarm()
    for offset, wake in enumerate([0.02, 0.01, 0.05]):
        alarm.admit(PARTITIONS[0], offset, alarm.now + wake)
    assert alarm.begun == []
    alarm.now += 0.03
    await eventually(lambda: alarm.begun == [(0, 0), (0, 1)])
    assert alarm.reader.held == {PARTITIONS[0]}
    alarm.now += 0.03
    await eventually(lambda: alarm.begun == [(0, 0), (0, 1), (0, 2)])
    await eventually(lambda: alarm.workload.positions() == {PARTITIONS[0]: 3})
    assert not alarm.reader.held


async def test_a_revoked_partition_does_not_wake() -> None:
    alarm = Alarm()
    alarm.admit(PARTITIONS[0], 0, alarm.now + 0.01)
    alarm.admit(PARTITIONS[1], 0, alarm.now + 0.02)
    alarm.workload.revoke([PARTITIONS[0]])
    alarm.now += 1
    await eventually(lambda: alarm.begun)
    assert alarm.begun == [(1, 0)]


def gap(offset: int, following: int, *, anew: bool = False) -> Record:
    return record(PARTITIONS[0], offset)._replace(gap=Gap(offset, following, following, "lost", anew=anew))


async def test_a_gap_is_finished_like_a_record_and_then_passed() -> None:
    gates = {offset: asyncio.Event() for offset in (5, 100)}

    async def work(item: Record) -> None:
        await gates[item.offset].wait()

    workload = Workload(
        work,
        span=SPAN,
        room=Room(Size(IN_FLIGHT, 2**30), lanes=1),
        lane=lambda _: None,
        flow=Reader(),
        fail=lambda _: None,
    )
    workload.admit(gap(5, 100))
    workload.admit(record(PARTITIONS[0], 100))
    gates[100].set()
    await eventually(lambda: workload.running == 1)
    assert workload.positions() == {PARTITIONS[0]: 5}
    gates[5].set()
    await eventually(lambda: workload.positions() == {PARTITIONS[0]: 101})


async def test_a_log_that_is_anew_is_read_from_its_beginning_and_what_was_read_before_is_done_too() -> None:
    begun: list[tuple[int, bool]] = []
    gates: list[asyncio.Event] = []

    async def work(item: Record) -> None:
        begun.append((item.offset, item.gap is not None))
        gates.append(gate := asyncio.Event())
        await gate.wait()

    reader = Reader()
    workload = Workload(
        work, span=2, room=Room(Size(IN_FLIGHT, 2**30), lanes=1), lane=lambda _: None, flow=reader, fail=lambda _: None
    )
    for offset in (7, 8, 9):  # the last of them waits for room
        workload.admit(record(PARTITIONS[0], offset))
    workload.admit(gap(0, 0, anew=True))
    assert workload.positions() == {PARTITIONS[0]: 0}, "what is committed from now on is a place in the new log"
    for offset in (0, 1):
        workload.admit(record(PARTITIONS[0], offset))
    for _ in range(6):
        await eventually(lambda: gates)
        gates.pop(0).set()
        assert workload.positions()[PARTITIONS[0]] <= 2
    await eventually(lambda: workload.positions() == {PARTITIONS[0]: 2})
    assert sorted(begun) == [(0, False), (0, True), (1, False), (7, False), (8, False), (9, False)]
    assert not reader.held


async def test_who_stands_by_grows_no_older(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now, time=lambda: now))
    turn, end = asyncio.Event(), asyncio.Event()

    async def work(_: Record) -> None:
        with workload.standing_by():
            await turn.wait()
        await end.wait()

    workload = Workload(
        work,
        span=SPAN,
        room=Room(Size(IN_FLIGHT, 2**30), lanes=1),
        lane=lambda _: None,
        flow=Reader(),
        fail=lambda _: None,
    )
    workload.admit(record(PARTITIONS[0], 0))
    await asyncio.sleep(0)
    now = 200.0
    assert workload.oldest == 0
    turn.set()
    await asyncio.sleep(0)
    now = 207.0
    assert workload.oldest == 7
    end.set()
    await eventually(lambda: workload.running == 0)
    assert workload.oldest == 0
