"""`callstream dead-letters list` and `show` on a real broker."""

import re
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path

import cramjam
import pytest
from aiokafka import AIOKafkaProducer

from callstream.contract.dead_letters import Reason
from callstream.contract.ids import derived_task_id
from callstream.contract.records import Record, TopicPartition
from callstream.contract.topics import Topics
from tests.support.batches import HEAD, NAME, batch, compressed, produce_batch, with_name
from tests.support.dead_letters import JUNK, NOW, Install, dead_request, dead_result, installed
from tests.support.kafka import Kafka
from tests.support.processes import run_to_end
from tests.support.waiting import eventually, free_port


@pytest.fixture
async def install(tmp_path: Path, kafka: Kafka, prefix: str) -> Install:
    return await installed(tmp_path, kafka.bootstrap, prefix)


async def test_an_empty_install_has_nothing_to_list_or_replay(install: Install) -> None:
    assert await install("list") == (0, "")
    assert await install("list", "--since", "1h") == (0, "")
    summary = "replayed 0, skipped as delivered meanwhile 0, skipped as replayed before 0\n"
    assert await install("replay", "--all") == (0, summary)


async def test_the_list_tells_what_when_for_whom_and_why_the_newest_last(install: Install) -> None:
    topics = install.topics
    await install.produce(dead_request(topics), at=NOW - timedelta(hours=1))
    await install.produce(dead_result(topics, "a"), at=NOW - timedelta(hours=2))
    exit_code, output = await install("list")
    assert exit_code == 0
    rows = [line.split("\t") for line in output.splitlines()]
    place = rf"{re.escape(topics.callback_dead_letters)}/\d@0"
    assert re.fullmatch(place, rows[0][0])
    time = (NOW - timedelta(hours=2)).isoformat(timespec="milliseconds")
    told = [time, "a", "data", "https://hooks.example.com:443", "exhausted", "the receiver answered 500"]
    assert rows[0][1:] == told
    origin = TopicPartition(topics.requests("calculation"), 2)
    assert rows[1][2] == derived_task_id(Record(origin, 42, None, None, (), 0.0))
    assert rows[1][3:] == ["calculation", "", "unreadable", r"it is\tno \x1b[31mJSON"]


@pytest.mark.parametrize(
    ("options", "task_ids"),
    [
        ([], ["old", "other", "refused", "typed", "new"]),
        (["--reason", "refused"], ["refused"]),
        (["--receiver", "http://other.example:8080/x"], ["other"]),
        (["--task", "calculation"], ["typed"]),
        (["--since", "90m"], ["other", "refused", "typed", "new"]),
        (["--until", (NOW - timedelta(minutes=90)).isoformat()], ["old"]),
        (["--since", "90m", "--until", "30m"], ["other", "refused", "typed"]),
        (["--topic", "callbacks", "--limit", "2"], ["typed", "new"]),
        (["--topic", "tasks"], []),
        (["--since", "0s"], []),
    ],
)
async def test_each_filter_lists_what_it_says(install: Install, options: Sequence[str], task_ids: list[str]) -> None:
    topics = install.topics
    await install.produce(dead_result(topics, "old"), at=NOW - timedelta(hours=2))
    hour_ago = [
        dead_result(topics, "other", receiver="http://other.example:8080"),
        dead_result(topics, "refused", reason=Reason.REFUSED),
        dead_result(topics, "typed", task="calculation"),
    ]
    for number, letter in enumerate(hour_ago):
        await install.produce(letter, at=NOW - timedelta(minutes=60 - number))
    await install.produce(dead_result(topics, "new"), at=NOW)
    assert [row["task_id"] for row in await install.listed(*options)] == task_ids


async def test_gaps_that_a_transaction_leaves_do_not_hold_the_list_up(install: Install) -> None:
    letter = dead_result(install.topics, "a")
    async with AIOKafkaProducer(
        bootstrap_servers=install.bootstrap, transactional_id=install.topics.prefix
    ) as producer:
        for _ in range(2):
            async with producer.transaction():
                await producer.send_and_wait(letter.topic, letter.value, letter.key, headers=list(letter.headers))
    assert [row["task_id"] for row in await install.listed()] == ["a", "a"]


async def test_what_cannot_be_read_neither_ends_the_list_nor_the_replay_and_is_told(install: Install) -> None:
    topics = install.topics
    now = round(NOW.timestamp() * 1000)
    strange = with_name(batch(b"x", headers=[(NAME, b"x")], time=now), b"\xff-r\xe9sum\xe9s\xff")
    bomb = compressed(batch(b"", time=now), 4, bytes(cramjam.zstd.compress(batch(bytes(2**28), time=now)[HEAD:])))
    for topic in (topics.task_dead_letters, topics.attempts):
        for raw in (strange, bomb):
            await eventually(partial(_stored, install.bootstrap, topic, raw))
    await install.produce(dead_result(topics, "honest"))
    assert [letter["reason"] for letter in await install.listed()] == ["", "damaged", "exhausted"]
    (damaged,) = await install.listed("--reason", "damaged")
    assert damaged["place"] == f"{topics.task_dead_letters}/0@1"
    assert "it inflates to more than" in damaged["error"]
    exit_code, output = await install("replay", "--all")
    assert exit_code == 0, output
    assert f"{damaged['place']} is not replayed: no record, but bytes that could not be decoded\n" in output
    assert f'"place": "{topics.attempts}/0@1"' in output
    assert output.splitlines()[-1].startswith("replayed 1,")
    assert await install.results() == {b"honest": 1}


async def test_a_dead_letter_is_shown_and_given_back_byte_for_byte(install: Install) -> None:
    await install.produce(dead_request(install.topics, headers=(("none", None),)))
    ((place),) = [row["place"] for row in await install.listed()]
    exit_code, output = await install("show", place)
    assert exit_code == 0
    assert f"place: {place}\n" in output
    assert "  none: (null)\n" in output
    assert "  dead_letter_error: it is\\tno \\x1b[31mJSON\n" in output
    assert "\\x80\\x81" in output
    with install.begin("show", "--raw", place) as command:
        assert await command.wait() == 0
        assert command.log.read_bytes() == JUNK


@pytest.mark.parametrize(
    ("command", "exit_code", "text"),
    [
        (["list", "--since", "yesterday"], 2, "--since: 'yesterday' is neither"),
        (["list", "--reason", "tired"], 2, "--reason: 'tired' is none of"),
        (["replay", "--topic", "results"], 2, "--topic: 'results' is none of"),
        (["replay"], 2, "say which dead letters are meant"),
        (["replay", "--limit", "5"], 2, "say which dead letters are meant"),
        (["show", "nowhere"], 2, "'nowhere' is no place"),
        (["show", "task.results/0@1"], 2, "task.results is no topic of dead letters"),
        (["list"], 1, "no broker answers at"),
        (["replay", "--all"], 1, "no broker answers at"),
        (["replay", "--dry-run"], 1, "no broker answers at"),
        (["show", "task.dead-letters/0@1"], 1, "no broker answers at"),
    ],
)
async def test_what_cannot_be_done_is_one_line(tmp_path: Path, command: list[str], exit_code: int, text: str) -> None:
    env = {"CALLSTREAM_KAFKA__BOOTSTRAP": f"127.0.0.1:{free_port()}"}
    ended, output = await run_to_end("dead-letters", *command, env=env, directory=tmp_path)
    assert (ended, len(output.splitlines()), output.startswith(text)) == (exit_code, 1, True), output


@pytest.mark.parametrize("place", ["0@0", "0@999", "99@0"])
async def test_a_place_where_nothing_is_is_one_line(install: Install, place: str) -> None:
    where = f"{install.topics.task_dead_letters}/{place}"
    assert await install("show", where) == (1, f"there is no dead letter at {where}\n")


async def test_topics_that_are_missing_are_named(tmp_path: Path, kafka: Kafka, prefix: str) -> None:
    env = {"CALLSTREAM_KAFKA__BOOTSTRAP": kafka.bootstrap, "CALLSTREAM_TOPICS__PREFIX": prefix}
    exit_code, output = await run_to_end("dead-letters", "list", env=env, directory=tmp_path)
    names = ", ".join(Topics(prefix).dead_letters)
    assert (exit_code, output) == (1, f"missing topics, which `callstream topics` creates: {names}\n")


async def _stored(bootstrap: str, topic: str, raw: bytes) -> bool:
    """Return whether the broker has taken the batch; a topic that is new may have no leader yet."""
    return await produce_batch(bootstrap, topic, 0, raw) == 0
