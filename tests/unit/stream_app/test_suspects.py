"""What killed the process twice is found, whatever dies when; what did not is never given up."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callstream.contract.dead_letters import Reason
from callstream.contract.records import Record, TopicPartition
from callstream.sharing.room import Room, Size
from stream_app.output import ProduceError
from stream_app.suspects import Note, Place, Suspects, inherited
from stream_app.workload import Workload
from tests.support.virtual_time import VirtualLoop, in_virtual_time, now
from tests.support.waiting import eventually

PARTITIONS = [TopicPartition("requests", number) for number in range(2)]
A, B = PARTITIONS
OWN, OTHER = "0badcafe", "deadbeef"
ROOM = 100
LATE = 7  # more deaths at most, until what kills within 40 s is watched for so long


def record(partition: TopicPartition, offset: int) -> Record:
    return Record(partition, offset, None, b"", (), 0.0)


@given(st.builds(Note, st.sampled_from(["", OWN, OTHER]), *[st.integers(0, 10**9 - 1)] * 6))
def test_a_note_is_read_as_it_was_written(note: Note) -> None:
    assert Note.read(str(note)) == note
    assert len(str(note)) < 200  # Kafka keeps 4,096 bytes


@given(st.text() | st.none())
def test_what_others_wrote_there_counts_as_none(text: str | None) -> None:
    assert Note.read(text) == Note()


@pytest.mark.parametrize("damage", ["x", " ", "\n", "9" * 20])
def test_a_damaged_note_counts_as_none(damage: str) -> None:
    assert Note.read(str(Note(OTHER, 9, 1, 10, 3, 1)) + damage) == Note()


def test_a_note_of_a_version_that_knew_no_groups_is_read() -> None:
    text = f"callstream/1 owner={OTHER} begun=8 deaths=2 until=50 tried=7 tries=2"
    assert Note.read(text) == Note(OTHER, 8, 2, 50, 7, 2, 1)


FAR = 10**6


@pytest.mark.parametrize(
    ("note", "position", "end", "found"),
    [
        pytest.param(Note(), 5, 50, Note(OWN), id="nobody before"),
        pytest.param(Note(OTHER, 8), 5, 50, Note(OWN, deaths=1, until=50), id="the first death"),
        pytest.param(Note(OTHER, 8), 5, FAR, Note(OWN, deaths=1, until=2_008), id="with more behind it than was begun"),
        pytest.param(Note(OTHER, 5), 5, 5, Note(OWN), id="with nothing in flight"),
        pytest.param(Note(OTHER, 8, 1, 50), 5, 99, Note(OWN, 8, 2, 50), id="the second death adds no suspects"),
        pytest.param(Note(OTHER, 8, 2, 50, 7, 2, 1), 7, 99, Note(OWN, 8, 3, 50, 7, 2, 1), id="a death on trial"),
        pytest.param(
            Note(OTHER, 8, 2, 50, 16, 1, 16), 7, 99, Note(OWN, 8, 3, 50, 16, 0, 1), id="a death in a group splits it"
        ),
        pytest.param(Note(OTHER, 60, 1, 50), 50, 99, Note(OWN, 0, 1, 99), id="behind the suspects it is a first one"),
        pytest.param(Note(OTHER, 8, 2, 50), 5, 20, Note(OWN, 8, 3, 20), id="a partition that was cut off"),
        pytest.param(Note("", 0, 2, 50, 7, 1), 7, 99, Note(OWN, 0, 2, 50, 7, 1), id="given back, still suspected"),
        pytest.param(Note("", 0, 2, 50, 7, 1), 50, 99, Note(OWN), id="given back, cleared"),
        pytest.param(Note(OWN, 8, 1, 50), 5, 99, Note(OWN, 8, 1, 50), id="our own, lost for a while"),
    ],
)
def test_what_a_new_owner_makes_of_the_note(note: Note, position: int, end: int, found: Note) -> None:
    assert inherited(Place(note, position, end), OWN) == found


class World:
    """Kafka, and a process that dies and is started again; each life has a workload and suspects of its own."""

    def __init__(self, records: int, span: int, together: int = 1, step: float = 0) -> None:
        self.span = span
        self.step = step  # seconds
        self.seconds: dict[int, float] = {}  # that records take, by their offset
        self.together = together
        self.end = records
        self.committed = dict.fromkeys(PARTITIONS, (0, ""))
        self.poison: set[tuple[TopicPartition, int]] = set()
        self.done: Counter[tuple[TopicPartition, int]] = Counter()
        self.refused: Counter[tuple[TopicPartition, int]] = Counter()
        self.deaths = 0
        self.failures: list[BaseException] = []

    @property
    def all_done(self) -> bool:
        return all(position == self.end for position, _ in self.committed.values())

    async def live(self, steps: int | None = None, commit_every: int = 10) -> None:
        """Live until all is done, a record kills the process, or something else does after `steps`."""
        life = Life(self)
        step = 0
        while not (self.all_done or life.dead or step == steps):
            await asyncio.sleep(self.step)
            assert not self.failures
            step += 1
            if step % commit_every == 0 and not life.dead:
                life.commit()
        self.deaths += not self.all_done
        life.end()


class Life:
    def __init__(self, world: World) -> None:
        self.world = world
        self.dead = False
        self.on_trial: Counter[TopicPartition] = Counter()
        self.suspects = Suspects(
            self.process,
            self.refuse,
            self.save,
            together=world.together,
            go_on=lambda partition: self.workload.go_on(partition),  # noqa: PLW0108 - it is made below
        )
        places = {
            name: Place(Note.read(text), position, world.end) for name, (position, text) in world.committed.items()
        }
        self.suspects.take_over(places)
        self.commit()
        self.workload = Workload(
            self.suspects.process,
            span=world.span,
            room=Room(Size(50, 2**30), lanes=1),
            flow=Flow(),
            fail=world.failures.append,
            alone=self.suspects.alone,
        )
        for offset in range(world.end):
            for partition, place in places.items():
                if offset >= place.position:
                    self.workload.admit(record(partition, offset))

    def commit(self) -> None:
        positions = self.workload.positions() if hasattr(self, "workload") else {}
        for name in PARTITIONS:
            position = positions.get(name, self.world.committed[name][0])
            self.world.committed[name] = position, self.suspects.note(name, position)

    async def save(self) -> bool:
        await self.alive()
        self.commit()
        await asyncio.sleep(0)
        return True

    async def process(self, item: Record) -> None:
        tried = self.suspects._suspected(item)
        self.on_trial[item.partition] += tried
        assert self.on_trial[item.partition] <= self.world.together or self.world.step
        for _ in range(item.offset % 3):
            await asyncio.sleep(0)
        if seconds := self.world.seconds.get(item.offset):
            await asyncio.sleep(seconds)
        await self.alive()
        self.dead = item[:2] in self.world.poison
        await self.alive()
        self.world.done[item[:2]] += 1
        self.on_trial[item.partition] -= tried

    async def refuse(self, item: Record, reason: Reason, error: str) -> None:
        assert (reason, error) == (Reason.CRASHED, "processed 3 times, the process died each time")
        await self.alive()
        self.world.refused[item[:2]] += 1

    async def alive(self) -> None:
        """The dead do nothing more."""
        if self.dead:
            await asyncio.Event().wait()

    def end(self) -> None:
        self.dead = True
        self.workload.revoke(PARTITIONS)


class Flow:
    def hold(self, partition: TopicPartition) -> None:
        pass

    def release(self, partition: TopicPartition, again_from: int | None = None) -> None:
        pass


def fail(error: BaseException) -> None:
    raise error


@settings(deadline=None, max_examples=200)
@given(
    poison=st.sets(st.integers(0, 59), max_size=3),
    kills=st.lists(st.integers(0, 80), max_size=2),
    span=st.integers(1, 30),
    commit_every=st.integers(1, 200),
    levels=st.integers(0, 2),
)
def test_what_kills_is_given_up_after_few_deaths_and_nothing_else_is(
    poison: set[int], kills: list[int], span: int, commit_every: int, levels: int
) -> None:
    world = World(records=60, span=span, together=16**levels)
    world.poison = {(A, offset) for offset in poison}

    async def supervise() -> None:
        for steps in kills:
            await world.live(steps, commit_every)
        while not world.all_done:
            await world.live(None, commit_every)
            assert world.deaths <= len(kills) + 2 + (levels + 3) * len(poison)

    asyncio.run(supervise())
    assert world.refused.keys() == world.poison
    assert world.done.keys() == {(name, offset) for name in PARTITIONS for offset in range(60)} - world.poison


@settings(deadline=None, max_examples=50)
@given(
    poison=st.dictionaries(st.integers(0, 59), st.floats(0, 40), max_size=2),
    hanging=st.dictionaries(st.integers(0, 59), st.sampled_from([2, 100]), max_size=20),
    kills=st.integers(0, 3),
    levels=st.integers(0, 2),
)
def test_what_kills_late_is_given_up_and_what_hangs_beside_it_is_not(
    poison: dict[int, float], hanging: dict[int, float], kills: int, levels: int
) -> None:
    world = World(records=60, span=60, together=16**levels, step=1)
    world.seconds = {**hanging, **poison}
    world.poison = {(A, offset) for offset in poison}

    async def supervise() -> None:
        for _ in range(kills):
            await world.live(steps=3, commit_every=1)
        while not world.all_done:
            await world.live(None, commit_every=1)
            assert world.deaths <= kills + 2 + (levels + 3 + LATE) * len(poison)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(supervise())
    assert world.refused.keys() == world.poison
    assert world.done.keys() == {(name, offset) for name in PARTITIONS for offset in range(60)} - world.poison


async def test_one_death_slows_nothing() -> None:
    committed = {A: Place(Note(OTHER), 0, 10)}
    assert await under_way_at_once(committed, 10) == 10


async def test_after_two_deaths_what_was_in_flight_is_begun_in_turn_and_then_the_rest_at_once() -> None:
    committed = {A: Place(Note(OTHER, 0, 1, 4), 0, 10), B: Place(Note(OTHER, 0, 1, 4), 0, 10)}
    assert await under_way_at_once(committed, 4) == len(PARTITIONS)
    # The six that each has behind its suspects.
    assert await under_way_at_once(committed, 10) == 6 * len(PARTITIONS)


async def under_way_at_once(places: dict[TopicPartition, Place], records: int) -> int:
    """Return how many of the records that each partition has were under way together."""
    most, under_way = 0, 0

    async def work(_: Record) -> None:
        nonlocal most, under_way
        under_way += 1
        most = max(most, under_way)
        for _step in range(50):
            await asyncio.sleep(0)
        under_way -= 1

    suspects = Suspects(work, refuse_nothing, saved, together=1)
    suspects.take_over(places)
    workload = a_workload(suspects)
    for offset in range(records):
        for name in places:
            workload.admit(record(name, offset))
    await eventually(lambda: workload.positions() == dict.fromkeys(places, records))
    return most


def a_workload(suspects: Suspects) -> Workload:
    room = Room(Size(ROOM, 2**30), lanes=1)
    return Workload(suspects.process, span=ROOM, room=room, flow=Flow(), fail=fail, alone=suspects.alone)


def in_groups(work: Callable[[Record], Awaitable[None]], place: Place, *, lives: float) -> Workload:
    """Return a workload that has found a partition so, and tries 16 suspects at a time."""
    suspects = Suspects(
        work,
        refuse_nothing,
        saved,
        together=16,
        lives=lives,
        go_on=lambda partition: workload.go_on(partition),  # noqa: PLW0108 - it is made below
    )
    suspects.take_over({A: place})
    workload = a_workload(suspects)
    return workload


async def refuse_nothing(item: Record, reason: Reason, error: str) -> None:
    pytest.fail(f"{item} was refused: {reason}, {error}")


async def nothing(_: Record) -> None:
    pass


async def saved() -> bool:
    return True


def holding(work: Callable[[Record], Awaitable[None]], note: Note) -> Suspects:
    suspects = Suspects(work, refuse_nothing, saved)
    suspects.take_over({A: Place(note, 5, 10)})
    return suspects


async def test_a_partition_is_given_back_without_an_owner() -> None:
    suspects = holding(nothing, Note())
    running = Note.read(suspects.note(A, 5))
    suspects.give_back()
    assert running.owner
    assert suspects.note(A, 5) == ""


async def test_a_try_that_a_stop_cuts_short_does_not_count() -> None:
    began = asyncio.Event()

    async def work(_: Record) -> None:
        began.set()
        await asyncio.Event().wait()

    suspects = holding(work, Note(OTHER, 6, 1, 10, 5, 1, 1))
    task = asyncio.create_task(suspects.process(record(A, 5)))
    await began.wait()
    assert Note.read(suspects.note(A, 5)).tries == 2
    suspects.give_back()
    assert Note.read(suspects.note(A, 5)) == Note("", 6, 2, 10, 5, 1, 1)
    task.cancel()


async def test_a_try_is_not_begun_before_it_is_counted_durably() -> None:
    answers = [False, False, True]
    begun: list[int] = []

    async def save() -> bool:
        assert not begun
        return answers.pop(0)

    async def work(item: Record) -> None:
        begun.append(item.offset)

    suspects = Suspects(work, refuse_nothing, save)
    suspects.take_over({A: Place(Note(OTHER, 6, 1, 10), 5, 10)})
    await suspects.process(record(A, 5))
    assert (begun, answers) == ([5], [])


@pytest.mark.parametrize(
    ("error", "left"),
    [
        pytest.param(
            RuntimeError("our bug"), Note(OWN, 6, 2, 10, 5, 2, 1), id="a record that ends the process has killed it"
        ),
        pytest.param(GeneratorExit(), Note(OWN, 6, 2, 10, 5, 2, 1), id="likewise if it is no usual error"),
        pytest.param(
            ProduceError("no broker"), Note("", 6, 2, 10, 5, 1, 1), id="a broker that is away is no record's fault"
        ),
    ],
)
async def test_who_ends_the_process(error: BaseException, left: Note) -> None:
    async def work(_: Record) -> None:
        raise error

    suspects = holding(work, Note(OTHER, 6, 1, 10, 5, 1, 1))
    with pytest.raises(type(error)):
        await suspects.process(record(A, 5))
    suspects.give_back()
    found = Note.read(suspects.note(A, 5))
    assert found._replace(owner=OWN if found.owner else "") == left


async def test_what_is_begun_stands_in_the_note() -> None:
    suspects = holding(nothing, Note())
    assert Note.read(suspects.note(A, 5)).begun == 5
    await suspects.process(record(A, 8))
    assert Note.read(suspects.note(A, 5)).begun == 9


@in_virtual_time
async def test_suspects_that_hang_are_tried_together_and_after_a_while_others_beside_them() -> None:
    under_way: dict[int, float] = {}
    began = now()

    async def hang(item: Record) -> None:
        under_way[item.offset] = now() - began
        await asyncio.Event().wait()

    workload = in_groups(hang, Place(Note(OTHER, 40, 2, 40), 0, 40), lives=1)
    for offset in range(60):
        workload.admit(record(A, offset))
    await asyncio.sleep(3)
    assert set(under_way) == set(range(16)), "those of the next group stand by, and take no room"
    assert workload.running == 16
    await asyncio.sleep(10)
    first, second, third, innocent = range(16), range(16, 32), range(32, 40), range(40, 60)
    assert {offset: round(since) for offset, since in under_way.items()} == {
        **dict.fromkeys(first, 0),
        **dict.fromkeys(second, 4),
        **dict.fromkeys(third, 8),
        **dict.fromkeys(innocent, 12),
    }, "after a third death each group is watched for 4 s"
    workload.revoke([A])


@in_virtual_time
async def test_a_group_that_is_through_lets_the_next_in_whatever_hangs_before_it() -> None:
    begun: dict[int, float] = {}
    began = now()

    async def work(item: Record) -> None:
        begun[item.offset] = now() - began
        await asyncio.sleep(1_000 if item.offset < 16 else 0.1)

    workload = in_groups(work, Place(Note(OTHER, 40, 1, 48), 0, 48), lives=4)
    for offset in range(48):
        workload.admit(record(A, offset))
    await asyncio.sleep(10)
    assert (begun[15], begun[16], round(begun[32], 3)) == (0, 4, 4.1)
    workload.revoke([A])


@in_virtual_time
async def test_who_died_alone_is_tried_beside_no_other_suspect_however_long() -> None:
    living = {5: 60.0, 6: 100.0, 7: 1.0, 8: 1.0}
    begun: dict[int, float] = {}
    began = now()

    async def work(item: Record) -> None:
        begun[item.offset] = now() - began
        await asyncio.sleep(living[item.offset])

    suspects = Suspects(work, refuse_nothing, saved, together=1)
    suspects.take_over({B: Place(Note(OTHER, 6, 1, 10), 5, 10), A: Place(Note(OTHER, 8, 2, 10, 6, 1, 1), 6, 10)})
    tasks = []
    for partition, offset, pause in ((B, 5, 2), (A, 6, 2), (B, 7, 66), (B, 8, 0)):
        tasks.append(asyncio.create_task(suspects.process(record(partition, offset))))
        await asyncio.sleep(pause)
    await asyncio.gather(*tasks)
    assert begun == {5: 0, 7: 4, 6: 60, 8: 160}, "it waits for the one that hangs, and others do not; then they wait"


async def test_outages_of_the_broker_condemn_nobody() -> None:
    """Five times the broker goes away while an innocent suspect is tried, and the process ends because of it."""
    away = True
    committed = Note(OTHER, 6, 1, 10)
    refused: list[int] = []

    async def refuse(item: Record, _reason: Reason, _error: str) -> None:
        refused.append(item.offset)

    async def work(_: Record) -> None:
        nonlocal away
        away = True
        raise ProduceError("no broker")

    async def save() -> bool:
        nonlocal committed
        if not away:
            committed = Note.read(suspects.note(A, 5))
        return not away

    for _ in range(5):
        suspects = Suspects(work, refuse, save)
        suspects.take_over({A: Place(committed, 5, 10)})
        away = False
        task = asyncio.create_task(suspects.process(record(A, 5)))
        await eventually(lambda: away)  # noqa: B023 - called at once
        assert not task.done(), "it waits for the broker, which is to hear that nobody is to blame"
        away = False
        with pytest.raises(ProduceError):
            await task
        assert (committed.owner, committed.tries) == ("", 0)
    assert committed.deaths == 2
    assert refused == []


async def test_a_suspect_that_waits_for_its_turn_stands_by() -> None:
    standing: Counter[str] = Counter()
    gate = asyncio.Event()

    @contextmanager
    def standing_by() -> Iterator[None]:
        standing["now"] += 1
        try:
            yield
        finally:
            standing["now"] -= 1

    async def work(_: Record) -> None:
        standing["working"] += 1
        await gate.wait()

    suspects = Suspects(work, refuse_nothing, saved, together=1, standing_by=standing_by)
    suspects.take_over({A: Place(Note(OTHER, 6, 1, 10), 5, 10)})
    tasks = [asyncio.create_task(suspects.process(record(A, offset))) for offset in (5, 6)]
    await eventually(lambda: standing == {"now": 1, "working": 1})
    gate.set()
    await asyncio.gather(*tasks)
    assert standing == {"now": 0, "working": 2}


async def test_a_suspect_whose_topic_vanishes_while_it_waits_for_its_turn_is_done_all_the_same() -> None:
    done: list[int] = []
    gate = asyncio.Event()

    async def work(item: Record) -> None:
        await gate.wait()
        done.append(item.offset)

    suspects = Suspects(work, refuse_nothing, saved, together=1)
    suspects.take_over({A: Place(Note(OTHER, 8, 1, 10), 5, 10)})
    tasks = [asyncio.create_task(suspects.process(record(A, offset))) for offset in (5, 6)]
    await asyncio.sleep(0)
    suspects.take_over({})
    gate.set()
    await asyncio.gather(*tasks)
    assert done == [5, 6]


async def test_a_log_that_was_made_anew_has_no_suspects() -> None:
    suspects = holding(nothing, Note(OTHER, 6, 1, 10, 5, 1, 1))
    assert suspects.alone(record(A, 5))
    suspects.forget(A)
    assert not suspects.alone(record(A, 5))
    assert Note.read(suspects.note(A, 0)).deaths == 0
