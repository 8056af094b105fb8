"""`callstream dead-letters replay` on a real broker."""

import re
import signal
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from callstream.contract.ids import derived_task_id
from callstream.contract.records import Record, TopicPartition
from callstream.contract.retries import DEADLINE_HEADER
from callstream.contract.topics import Topics
from cli.reach import answers_within
from tests.support.dead_letters import JUNK, NOW, Install, dead_request, dead_result, delivered, installed
from tests.support.kafka import Kafka, OwnKafka, create_topics
from tests.support.waiting import eventually


@pytest.fixture
async def install(tmp_path: Path, kafka: Kafka, prefix: str) -> Install:
    return await installed(tmp_path, kafka.bootstrap, prefix)


async def test_a_dry_run_counts_and_does_nothing(install: Install) -> None:
    topics = install.topics
    letters = [dead_result(topics, str(number)) for number in range(3)]
    await install.produce(*letters, dead_request(topics), delivered(topics, "1"))
    exit_code, output = await install("replay", "--dry-run")
    assert exit_code == 0
    *counts, summary = output.splitlines()
    assert counts == ["2\texhausted\thttps://hooks.example.com:443", "1\tunreadable\t"]
    assert summary.endswith("replayed 3, skipped as delivered meanwhile 1, skipped as replayed before 0")
    written = await install.content(topics.results, topics.requests("calculation"), topics.attempts)
    assert [record.key for record in written] == [b"1"]


async def test_a_result_is_replayed_once_as_it_was_and_its_attempts_begin_anew(install: Install) -> None:
    topics = install.topics
    later = (("none", None), (DEADLINE_HEADER, b"2999-01-01T00:00:00+00:00"))
    letter = dead_result(topics, "a", headers=later)
    await install.produce(letter)
    done, left = "replayed 1, skipped as delivered meanwhile 0, skipped as replayed before 0\n", "replayed before 1\n"
    assert await install("replay", "--all") == (0, done)
    exit_code, output = await install("replay", "--reason", "exhausted")
    assert (exit_code, output.endswith(left)) == (0, True), output
    (result,) = await install.content(topics.results)
    assert (result.key, result.value, result.headers) == (letter.key, letter.value, (("ce_id", b"a"), *later))


async def test_a_request_is_replayed_with_the_bytes_and_the_id_that_it_had(install: Install) -> None:
    topics = install.topics
    first = Record(TopicPartition(topics.requests("calculation"), 2), 42, None, None, (), 0.0)
    await install.produce(dead_request(topics), dead_request(topics, headers=(("ce_id", b"mine"),)))
    assert (await install("replay", "--topic", "tasks"))[0] == 0
    requests = await install.content(topics.requests("calculation"))
    assert [(request.key, request.value) for request in requests] == [(b"key", JUNK)] * 2
    ids = [dict(request.headers)["ce_id"] for request in requests]
    assert sorted(ids) == sorted([derived_task_id(first).encode(), b"mine"])


async def test_what_was_delivered_meanwhile_has_expired_or_lost_its_value_is_left(install: Install) -> None:
    topics = install.topics
    past = ((DEADLINE_HEADER, b"2020-01-01T00:00:00+00:00"),)
    empty = dead_result(topics, "empty")._replace(value=None)
    await install.produce(dead_result(topics, "a"), dead_result(topics, "late", headers=past), empty)
    await install.produce(dead_result(topics, "b"), delivered(topics, "a"))
    exit_code, output = await install("replay", "--topic", "callbacks")
    named, summary = output.splitlines()
    assert named.endswith(" is not replayed: without a value")
    assert (exit_code, summary) == (
        0,
        (
            "replayed 1, skipped as delivered meanwhile 1, skipped as replayed before 0, "
            "skipped as past its callback_deadline 1, skipped as without a value 1"
        ),
    )
    assert await install.results() == {b"b": 1}


async def test_a_result_is_replayed_though_the_errors_of_its_task_were_delivered(install: Install) -> None:
    topics = install.topics
    real, sent = dead_result(topics, "a"), dead_result(topics, "b")
    await install.produce(real, sent)
    await install.produce(delivered(topics, "a", b"its errors"), delivered(topics, "b", sent.value))
    exit_code, output = await install("replay", "--all")
    assert (exit_code, output) == (0, "replayed 1, skipped as delivered meanwhile 1, skipped as replayed before 0\n")
    (result,) = await install.content(topics.results)
    assert (result.key, result.value) == (b"a", real.value)


async def test_what_cannot_be_replayed_is_named_and_the_others_are_replayed(install: Install) -> None:
    topics = install.topics
    elsewhere = Topics(f"{topics.prefix}other.")
    homes = [elsewhere.requests("calculation"), topics.requests("removed")]
    await create_topics(install.bootstrap, *homes)
    huge = dead_result(topics, "a", results=["x" * (5 * 2**20)])
    await install.produce(*(dead_request(topics, origin=home) for home in homes))
    await install.produce(dead_result(topics, "a"), huge, dead_result(topics, "a"))  # for one partition, in this order
    exit_code, output = await install("replay", "--all")
    *refused, summary = output.splitlines()
    unread, large = "of a topic that no task type installed here reads", "too large for its topic"
    assert sorted(line.partition(" is not replayed: ")[2] for line in refused) == [unread, unread, large]
    assert (exit_code, summary) == (
        0,
        (
            "replayed 2, skipped as delivered meanwhile 0, skipped as replayed before 0, "
            f"skipped as {unread} 2, skipped as {large} 1"
        ),
    )
    assert await install.results() == {b"a": 2}


async def test_a_task_that_died_again_can_be_replayed_again_unless_it_was_delivered(install: Install) -> None:
    topics = install.topics
    for number in range(1, 4):
        await install.produce(dead_result(topics, "a"))
        _, output = await install("replay", "--all")
        assert output == f"replayed 1, skipped as delivered meanwhile 0, skipped as replayed before {number - 1}\n"
    await install.produce(dead_result(topics, "a"), delivered(topics, "a"))
    _, output = await install("replay", "--all")
    assert output == "replayed 0, skipped as delivered meanwhile 4, skipped as replayed before 0\n"
    assert await install.results() == {b"a": 3}


async def test_a_limit_is_worked_off_bit_by_bit_the_oldest_first(install: Install) -> None:
    topics = install.topics
    for number in range(3):
        await install.produce(dead_result(topics, str(number)), at=NOW - timedelta(hours=3 - number))
    seen = []
    for _ in range(4):
        exit_code, output = await install("replay", "--limit", "1", "--topic", "callbacks")
        assert exit_code == 0, output
        seen.append(sorted(await install.results()))
    assert seen == [[b"0"], [b"0", b"1"], [b"0", b"1", b"2"], [b"0", b"1", b"2"]]


async def test_a_replay_that_is_killed_goes_on_where_it_was(install: Install) -> None:
    keys = await many(install, 40)
    with install.begin("replay", "--all", "--rate", "20") as command:
        await eventually(lambda: some_of(install, 5), 30, what=command.log_tail)
        command.kill()
    begun = (await install.results()).total()
    assert begun < len(keys)
    exit_code, output = await install("replay", "--all", "--rate", "1000")
    assert exit_code == 0, output
    results = await install.results()
    assert set(results) == keys
    assert results.total() <= len(keys) + 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_replay_that_is_stopped_says_what_was_done_and_how_to_go_on(
    install: Install, number: signal.Signals
) -> None:
    keys = await many(install, 40)
    since = (NOW - timedelta(days=1)).isoformat()
    with install.begin("replay", "--since", since, "--rate", "20") as command:
        await eventually(lambda: some_of(install, 5), 30, what=command.log_tail)
        psutil.Process(command.pid).send_signal(number)
        assert await command.wait() == 130
        (line,) = command.read_log().splitlines()
    done = (await install.results()).total()
    assert line == (
        f"stopped; replayed {done}, skipped as delivered meanwhile 0, skipped as replayed before 0; "
        f"go on by the same command with --since {since}"
    )
    exit_code, output = await install("replay", "--since", since, "--rate", "1000")
    assert (exit_code, output.endswith(f"skipped as replayed before {done}\n")) == (0, True), output
    assert await install.results() == dict.fromkeys(keys, 1)


async def test_a_broker_that_dies_in_the_middle_is_one_line_that_says_what_was_done(
    own_kafka: OwnKafka, tmp_path: Path, prefix: str
) -> None:
    install = await installed(tmp_path, own_kafka.bootstrap, prefix)
    install.env["CALLSTREAM_KAFKA__REQUEST_TIMEOUT"] = "5"
    keys = await many(install, 40)
    with install.begin("replay", "--all", "--rate", "20") as command:
        await eventually(lambda: some_of(install, 5), 30, what=command.log_tail)
        own_kafka.pause()
        assert await command.wait() == 1, command.log_tail()
        said = command.read_log()
    assert re.search(r"^the broker at .+ failed: .+; replayed \d+, .+; go on by the same command$", said, re.MULTILINE)
    assert "Traceback" not in said
    own_kafka.resume()
    assert await answers_within(
        60, bootstrap_servers=own_kafka.bootstrap
    )  # it may have to fence and elect itself first
    del install.env["CALLSTREAM_KAFKA__REQUEST_TIMEOUT"]
    exit_code, output = await install("replay", "--all", "--rate", "1000")
    assert exit_code == 0, output
    results = await install.results()
    assert set(results) == keys
    assert results.total() <= len(keys) + 1


async def many(install: Install, count: int) -> set[bytes]:
    """Let `count` results be dead letters; return their keys."""
    letters = [dead_result(install.topics, str(number)) for number in range(count)]
    await install.produce(*letters)
    return {letter.key for letter in letters if letter.key is not None}


async def some_of(install: Install, count: int) -> bool:
    """Return whether `count` were replayed, which is not all."""
    return (await install.results()).total() >= count
