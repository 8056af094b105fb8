"""`callstream topics` on a real broker."""

import asyncio
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from tests.conftest import StartService
from tests.support.kafka import Kafka, create_topics
from tests.support.processes import run_to_end
from tests.support.waiting import free_port

TIERS = [f"callback.retry.{delay}" for delay in ("5s", "30s", "5m", "30m", "2h", "5h", "10h")]
LETTERS = ["task.dead-letters", "callback.dead-letters"]
NAMES = ["calculation.requests", "data.requests", "task.results", *TIERS, "callback.attempts", *LETTERS]
_SET = 1  # where a configuration comes from: the topic's own
DAY = 86_400_000  # milliseconds


class Command:
    """`callstream topics` with a prefix of the test's own."""

    def __init__(self, directory: Path, bootstrap: str, prefix: str) -> None:
        self._directory = directory
        self._env = {"CALLSTREAM_KAFKA__BOOTSTRAP": bootstrap, "CALLSTREAM_TOPICS__PREFIX": prefix}

    async def __call__(self, *options: str, **env: str) -> tuple[int, str]:
        """Return the exit code and what was printed."""
        return await run_to_end("topics", *options, env={**self._env, **env}, directory=self._directory)


@pytest.fixture
def topics(tmp_path: Path, kafka: Kafka, prefix: str) -> Command:
    return Command(tmp_path, kafka.bootstrap, prefix)


async def test_topics_are_created_once_with_what_the_settings_say(topics: Command, kafka: Kafka, prefix: str) -> None:
    env = {"CALLSTREAM_TOPICS__PARTITIONS": "3", "CALLSTREAM_TOPICS__MAX_MESSAGE_BYTES": "2000000"}
    exit_code, output = await topics(**env)
    assert (exit_code, output.count("created")) == (0, len(NAMES)), output
    exit_code, output = await topics(**env)
    assert (exit_code, output.count("was there")) == (0, len(NAMES)), output
    assert await partitions(kafka, prefix) == dict.fromkeys(NAMES, 3)
    always = {"cleanup.policy": "delete", "retention.bytes": "-1"}
    results = {"max.message.bytes": "2000000", "retention.ms": str(7 * DAY)}
    assert await config(kafka, prefix + "task.results") == always | results
    letters = {"max.message.bytes": "4000000", "retention.ms": str(28 * DAY)}
    assert await config(kafka, prefix + "task.dead-letters") == always | letters


async def test_runs_at_the_same_time_do_not_disturb_each_other(topics: Command, kafka: Kafka, prefix: str) -> None:
    runs = await asyncio.gather(topics(), topics(), topics())
    assert [exit_code for exit_code, _ in runs] == [0, 0, 0], runs
    assert sum(output.count("created") for _, output in runs) == len(NAMES)
    assert await partitions(kafka, prefix) == dict.fromkeys(NAMES, 6)


async def test_another_partition_count_is_refused_and_nothing_is_changed(
    topics: Command, kafka: Kafka, prefix: str
) -> None:
    await topics(CALLSTREAM_TOPICS__PARTITIONS="3")
    exit_code, output = await topics(CALLSTREAM_TOPICS__PARTITIONS="4")
    assert exit_code == 1
    assert len(output.splitlines()) == len(NAMES)
    for name, line in zip(NAMES, output.splitlines(), strict=True):
        assert line.startswith(f"{prefix}{name} has 3 partitions, CALLSTREAM_TOPICS__PARTITIONS wants 4: set it to")
    assert await partitions(kafka, prefix) == dict.fromkeys(NAMES, 3)


async def test_a_topic_that_refuses_what_we_would_store_is_told(topics: Command, prefix: str) -> None:
    await topics(CALLSTREAM_TOPICS__MAX_MESSAGE_BYTES="1500000")
    exit_code, output = await topics(CALLSTREAM_TOPICS__MAX_MESSAGE_BYTES="2000000")
    assert exit_code == 1
    assert f"{prefix}task.dead-letters has max.message.bytes=3000000" in output
    assert "CALLSTREAM_TOPICS__MAX_MESSAGE_BYTES wants 4000000" in output


async def test_a_topic_that_forgets_what_still_waits_is_told(topics: Command, prefix: str) -> None:
    await topics(CALLSTREAM_TOPICS__RETENTION="3d")
    exit_code, output = await topics(CALLSTREAM_TOPICS__RETENTION="4d")
    assert exit_code == 1
    assert f"{prefix}task.results has retention.ms={3 * DAY}" in output
    exit_code, output = await topics(CALLSTREAM_TOPICS__RETENTION="1d")
    assert exit_code == 2
    assert output.startswith("CALLSTREAM_TOPICS__RETENTION is shorter than CALLSTREAM_CALLBACKS__EXPIRY")


async def test_what_the_broker_refuses_is_one_line(topics: Command, prefix: str) -> None:
    exit_code, output = await topics(CALLSTREAM_TOPICS__REPLICATION_FACTOR="3")  # of one broker
    assert exit_code == 1
    assert len(output.splitlines()) == 1
    assert f"the broker does not create the topic {prefix}" in output


async def test_a_broker_that_is_away_is_one_line(tmp_path: Path, prefix: str) -> None:
    bootstrap = f"127.0.0.1:{free_port()}"
    exit_code, output = await Command(tmp_path, bootstrap, prefix)()
    assert exit_code == 1
    assert output == f"no broker answers at {bootstrap} (CALLSTREAM_KAFKA__BOOTSTRAP)\n"


async def test_the_embedded_broker_has_topics_too_and_may_come_later(
    tmp_path: Path, start_service: StartService, prefix: str
) -> None:
    port = free_port()
    topics = Command(tmp_path, f"127.0.0.1:{port}", prefix)
    first = asyncio.create_task(topics("--wait", "30"))
    broker = start_service("broker", "embedded", "--port", str(port))
    exit_code, output = await first
    assert (exit_code, output.count("created")) == (0, len(NAMES)), output
    exit_code, output = await topics()
    assert (exit_code, output.count("was there")) == (0, len(NAMES)), output
    assert await broker.stop() == 0


async def partitions(kafka: Kafka, prefix: str) -> dict[str, int]:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        topics = await admin.describe_topics()
    finally:
        await admin.close()
    return {name: len(topic["partitions"]) for name in NAMES for topic in topics if topic["topic"] == f"{prefix}{name}"}


async def config(kafka: Kafka, topic: str) -> dict[str, str]:
    """Return what was set for the topic itself, whatever the broker's defaults are."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    finally:
        await admin.close()
    ((*_, entries),) = answer.resources
    return {name: value for name, value, _, source, *_ in entries if source == _SET}


@pytest.mark.parametrize("policy", ["compact", "compact,delete"])
async def test_a_topic_that_keeps_only_the_last_of_each_key_is_refused(
    topics: Command, kafka: Kafka, prefix: str, policy: str
) -> None:
    name = f"{prefix}calculation.requests"
    await create_topics(kafka.bootstrap, name, cleanup_policy=policy, retention_ms="-1", max_message_bytes="99999999")
    exit_code, output = await topics(CALLSTREAM_TOPICS__PARTITIONS="1")
    assert (exit_code, output.count("\n")) == (1, 1), output
    assert output.startswith(f"{name} has cleanup.policy={policy}, and must have delete alone")


async def test_a_topic_that_forgets_by_size_is_refused(topics: Command, kafka: Kafka, prefix: str) -> None:
    name = f"{prefix}task.results"
    await create_topics(
        kafka.bootstrap, name, retention_bytes="1000000", retention_ms="-1", max_message_bytes="99999999"
    )
    exit_code, output = await topics(CALLSTREAM_TOPICS__PARTITIONS="1")
    assert (exit_code, output.count("\n")) == (1, 1), output
    assert output.startswith(f"{name} has retention.bytes=1000000, and must have -1")


async def test_one_copy_is_warned_about_and_not_for_production(topics: Command, kafka: Kafka, prefix: str) -> None:
    exit_code, output = await topics("--production")
    assert (exit_code, output.count("\n")) == (1, 1), output
    assert output.startswith("what is accepted must not be lost with one broker")
    assert await partitions(kafka, prefix) == {}
    exit_code, output = await topics()
    assert (exit_code, output.count("topics.single-copy")) == (0, 1), output
    exit_code, output = await topics("--production")
    assert (
        exit_code,
        output.startswith("what is accepted must not be lost with one broker"),
        f"{prefix}data.requests" in output,
    ) == (
        1,
        True,
        True,
    )


async def test_fewer_partitions_than_replicas_are_refused_before_anything_is_created(
    topics: Command, kafka: Kafka, prefix: str
) -> None:
    exit_code, output = await topics("--replicas", "4", CALLSTREAM_TOPICS__PARTITIONS="3")
    assert (exit_code, output.count("\n")) == (2, 1), output
    assert "CALLSTREAM_TOPICS__PARTITIONS is 3, and 4 replicas" in output
    assert await partitions(kafka, prefix) == {}
    exit_code, output = await topics("--replicas", "3", CALLSTREAM_TOPICS__PARTITIONS="3")
    assert exit_code == 0, output
