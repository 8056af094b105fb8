"""What a list and a replay hold in memory does not depend on how many dead letters there are."""

import gc
import tracemalloc

import pytest
from aiokafka import TopicPartition

from callstream.runtime.settings import Settings
from cli.dead_letters import ordering, planning, reading, replaying, showing
from cli.dead_letters.filters import Asked
from tests.support.dead_letters import delivered
from tests.unit.cli.dead_letters.letters import NOW, TOPICS, dead_result, result
from tests.unit.cli.dead_letters.logs import PARTITIONS, Found, Logs, Stored, connect, tiny

MANY = PARTITIONS * 2_000
PAGE = 100
_HELD = {"Letter", "Candidate", "Place", "Record"}  # what there is of each letter; by name, whatever module has it
SETTINGS = Settings(_env_file=None, topics={"prefix": TOPICS.prefix})


class Most:
    """The most letters that were held, looked at now and then."""

    def __init__(self, logs: Logs) -> None:
        self.held = 0
        self._polls = 0
        self._before = _alive()  # what other tests of this process keep
        logs.on_poll = self._look

    def _look(self) -> None:
        self._polls += 1
        if self._polls % 20 == 0:
            self.held = max(self.held, _alive() - self._before)


def _alive() -> int:
    gc.collect()
    return sum(type(each).__name__ in _HELD for each in gc.get_objects())


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = ((reading, "_AT_ONCE"), (ordering, "_AHEAD"), (showing, "_PAGE"), (planning, "_PAGE"))
    for module, name in limits:
        monkeypatch.setattr(module, name, PAGE)


async def test_a_list_of_everything_prints_as_it_reads(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    most = Most(logs := tiny(MANY, NOW))
    connect(monkeypatch, showing, logs)
    await showing.list_letters(SETTINGS, Asked(), None, as_json=False)
    assert capsys.readouterr().out.count("\n") == MANY
    assert 0 < most.held < MANY / 10
    assert logs.assigned == 1  # and nothing is fetched a second time


async def test_a_replay_holds_a_page_of_letters(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    most = Most(logs := tiny(MANY, NOW))
    connect(monkeypatch, replaying, logs)
    await replaying.dry_run(SETTINGS, Asked(), None)
    assert capsys.readouterr().out.endswith(f"skipped as not written by Callstream {MANY}\n")
    assert 0 < most.held < MANY / 10


async def test_of_the_attempts_no_more_is_kept_than_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever may write attempts can tell of one task that ever more of its results were delivered."""
    letter, one = dead_result(), TopicPartition(TOPICS.attempts, 0)
    lengths = {TopicPartition(*letter.partition): 1, one: 20_000}

    def make(tp: TopicPartition, offset: int) -> Found:
        if tp == one:
            return Found(tp.topic, tp.partition, offset, b"a", delivered(TOPICS, "a", str(offset).encode()).value)
        return Found(tp.topic, tp.partition, offset, letter.key, letter.value, letter.headers)

    connect(monkeypatch, replaying, Logs(lengths, make))
    monkeypatch.setattr(reading, "_AT_ONCE", 10)
    tracemalloc.start()
    try:
        await replaying.dry_run(SETTINGS, Asked(), None)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "replayed 1, skipped as delivered meanwhile 0" in capsys.readouterr().out
    assert peak < 2 * 2**20


async def test_a_dry_run_tells_a_number_of_receivers_apart(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    letters = [dead_result(result(url=f"https://{number}.example/in")) for number in (1, 2, 3, 1, 4)]
    connect(monkeypatch, replaying, Stored(*letters))
    monkeypatch.setattr(replaying, "_MOST_COUNTED", 2)
    await replaying.dry_run(SETTINGS, Asked(), None)
    *rows, summary = capsys.readouterr().out.splitlines()
    assert sorted(rows) == [
        "1\texhausted\thttps://2.example:443",
        "2\t\t(others)",
        "2\texhausted\thttps://1.example:443",
    ]
    assert "replayed 5," in summary
