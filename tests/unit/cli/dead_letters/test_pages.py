"""A replay plans and replays a page of letters at a time: nothing is forgotten between two of them, nor done twice."""

from collections import Counter, defaultdict
from contextlib import asynccontextmanager
from typing import Any

import pytest

from callstream.contract.records import OutgoingRecord, Record, TopicPartition
from callstream.runtime.settings import Settings
from cli.dead_letters import planning, replaying
from cli.dead_letters.filters import Asked
from tests.support.dead_letters import delivered
from tests.unit.cli.dead_letters.letters import NOW, TOPICS, dead_result, result
from tests.unit.cli.dead_letters.logs import PARTITIONS, Stored, connect
from tests.unit.records import Broker

SETTINGS = Settings(_env_file=None, topics={"prefix": TOPICS.prefix})
PAGE, EACH = 7, 10  # letters of a page, and of a partition


class Install(Broker):
    """Keeps the notes that are produced among its logs; `answers` are tasks of which every result is delivered."""

    def __init__(self, *letters: Record) -> None:
        super().__init__()
        self.logs = Stored(*letters)
        self.answers: set[str] = set()

    async def produce(self, record: OutgoingRecord) -> None:
        await super().produce(record)
        if record.topic == TOPICS.attempts:
            self.note(record.value, record.key or b"")
        elif (key := (record.key or b"").decode()) in self.answers:
            self.deliver(key, record.value or b"")

    def deliver(self, task_id: str, value: bytes) -> None:
        self.note(delivered(TOPICS, task_id, value).value, task_id.encode())

    def note(self, value: bytes | None, key: bytes) -> None:
        self.logs.add(Record(TopicPartition(TOPICS.attempts, 0), 0, key, value, (), NOW.timestamp()))

    @property
    def replayed(self) -> list[str]:
        return [(record.key or b"").decode() for record in self.taken if record.topic == TOPICS.results]


def letter(task_id: str, partition: int, seconds: int) -> Record:
    place = TopicPartition(TOPICS.callback_dead_letters, partition)
    made = dead_result(result(task_id), headers=(("ce_id", task_id.encode()),))
    return made._replace(partition=place, key=task_id.encode(), timestamp=NOW.timestamp() + seconds)


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Return an install whose oldest letter is `0-0`, and then `1-0`, `2-0`, `0-1`, ..., each of its own task."""
    install = Install(
        *(letter(f"{number}-{turn}", number, turn * PARTITIONS) for turn in range(EACH) for number in range(PARTITIONS))
    )

    @asynccontextmanager
    async def producer_of(_: object) -> Any:
        yield install

    connect(monkeypatch, replaying, install.logs)
    monkeypatch.setattr(replaying, "producer_of", producer_of)
    monkeypatch.setattr(planning, "_PAGE", PAGE)
    return install


def replay(limit: int | None = None) -> None:
    replaying.replay(SETTINGS, Asked(), limit, 1_000_000, everything=True)


def test_each_letter_is_replayed_once_and_those_of_a_partition_in_their_order(
    install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    for done in ("0-0", "1-5", "2-9"):
        install.deliver(done, result(done))
    replay()
    replay()
    first, again = capsys.readouterr().out.splitlines()
    assert first == "replayed 27, skipped as delivered meanwhile 3, skipped as replayed before 0"
    assert again == "replayed 0, skipped as delivered meanwhile 3, skipped as replayed before 27"
    assert set(Counter(install.replayed).values()) == {1}
    order: defaultdict[str, list[int]] = defaultdict(list)
    for task_id in install.replayed:
        number, turn = task_id.split("-")
        order[number].append(int(turn))
    assert [order[str(number)] for number in range(PARTITIONS)] == [
        list(range(1, EACH)),
        [turn for turn in range(EACH) if turn != 5],
        list(range(EACH - 1)),
    ]


@pytest.mark.parametrize("limit", [1, PAGE, PAGE + 1, 3 * PAGE + 2])
def test_a_limit_takes_the_oldest_of_all_partitions_whatever_the_page(install: Install, limit: int) -> None:
    oldest = [f"{number}-{turn}" for turn in range(EACH) for number in range(PARTITIONS)]
    replay(limit)
    assert sorted(install.replayed) == sorted(oldest[:limit])
    replay(limit)
    assert sorted(install.replayed) == sorted(oldest[: 2 * limit])


def test_what_is_delivered_while_an_earlier_page_is_replayed_is_left(
    install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    install.answers.add("0-0")
    install.logs.add(letter("0-0", 0, 1_000))  # the same result, twice a dead letter, and here the last of all
    replay()
    assert capsys.readouterr().out == "replayed 30, skipped as delivered meanwhile 1, skipped as replayed before 0\n"


def test_a_letter_that_died_again_meanwhile_is_left_to_the_next_replay(install: Install) -> None:
    produce = install.produce

    async def dies_again(record: OutgoingRecord) -> None:
        await produce(record)
        if record.topic == TOPICS.results:
            install.logs.add(letter((record.key or b"").decode(), 1, 2_000))

    install.produce = dies_again  # type: ignore[method-assign]
    replay()
    assert len(install.replayed) == PARTITIONS * EACH
    replay()
    assert len(install.replayed) == 2 * PARTITIONS * EACH
