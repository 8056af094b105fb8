"""Real brokers for tests."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from cli.reach import answers_within
from tests.support.docker import docker_answers
from tests.support.processes import Service
from tests.support.waiting import free_port

_IMAGE = "apache/kafka:4.3.1"
_JAVA = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"  # for what lives short: half the time to start
_START = 180  # seconds until a broker must be ready; the first start downloads it


@dataclass(frozen=True)
class Kafka:
    """A broker that tests share: each keeps to topics of its own (fixture `prefix`)."""

    bootstrap: str


class OwnKafka:
    """Apache Kafka as a process of its own, to which a test may do what it likes."""

    def __init__(self, directory: Path) -> None:
        self._port = free_port()
        self.bootstrap = f"127.0.0.1:{self._port}"
        data = str(directory / "kafka")
        command = ("broker", "apache", "--port", str(self._port), "--data", data)
        self._service = Service(*command, env={"JAVA_TOOL_OPTIONS": _JAVA}, directory=directory)

    async def start(self) -> None:
        """Start it, or start it again: the same port, the same data."""
        self._service.start()
        try:
            await self._service.wait_until_ready(_START)
        except AssertionError:
            if self._service.running:
                raise
            # It gave up: a KRaft controller may answer NullPointerException for ever if its start was slow.
            self._service.start()
            await self._service.wait_until_ready(_START)

    async def mend(self) -> None:
        """Let it be there again, whatever was done to it."""
        if self._service.running:
            self.resume()
        else:
            await self.start()

    async def stop(self) -> int:
        """End it in good order."""
        return await self._service.stop()

    def kill(self) -> None:
        """End it as a power cut would."""
        self._service.end()

    def pause(self) -> None:
        """Let it hang: connections stay open and nothing answers."""
        for process in self._service.with_children():
            process.suspend()

    def resume(self) -> None:
        for process in self._service.with_children():
            process.resume()

    def end(self) -> None:
        with suppress(psutil.NoSuchProcess):
            self._service.end()

    def log_tail(self) -> str:
        return self._service.log_tail()


async def create_topics(bootstrap: str, *names: str, **config: str) -> None:
    """Create topics as somebody else might have; `config` has `_` where Kafka has `.`."""
    settings = {name.replace("_", "."): value for name, value in config.items()}
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        answer = await admin.create_topics([NewTopic(name, 1, 1, topic_configs=settings) for name in names])
    finally:
        await admin.close()
    assert [error for _, error, _ in answer.topic_errors] == [0] * len(names), answer


@asynccontextmanager
async def own_kafka(directory: Path) -> AsyncIterator[OwnKafka]:
    _need_java()
    broker = OwnKafka(directory)
    try:
        await broker.start()
        yield broker
    finally:
        broker.end()


def where_shared_kafka_runs() -> str:
    return "in a container (testcontainers)" if docker_answers() else "as a process"


@asynccontextmanager
async def shared_kafka(directory: Path) -> AsyncIterator[Kafka]:
    """In a container where a Docker engine answers, else as a process."""
    async with AsyncExitStack() as stack:
        if docker_answers():
            yield Kafka(await stack.enter_async_context(_container()))
        else:
            broker = await stack.enter_async_context(own_kafka(directory))
            yield Kafka(broker.bootstrap)


@asynccontextmanager
async def _container() -> AsyncIterator[str]:
    from testcontainers.core.container import DockerContainer  # noqa: PLC0415 - slow, and not always needed

    port = free_port()
    # The image's settings: once one is given, all have to be.
    environment = {
        "KAFKA_NODE_ID": "1",
        "KAFKA_PROCESS_ROLES": "broker,controller",
        # It ends transactions by a connection to itself, and what is advertised outside is not to be reached inside.
        "KAFKA_LISTENERS": "PLAINTEXT://:9092,CONTROLLER://:9093,INSIDE://:9094",
        "KAFKA_INTER_BROKER_LISTENER_NAME": "INSIDE",
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,INSIDE:PLAINTEXT",
        "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
        "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
        "KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS": "1000",
        "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
    }
    container = DockerContainer(_IMAGE).with_bind_ports(9092, port).with_envs(**environment)
    bootstrap = f"{container.get_docker_client().host()}:{port}"
    with container.with_env("KAFKA_ADVERTISED_LISTENERS", f"PLAINTEXT://{bootstrap},INSIDE://localhost:9094"):
        assert await answers_within(60, bootstrap_servers=bootstrap), container.get_logs()
        yield bootstrap


def _need_java() -> None:
    missing = [tool for tool in ("java", "mvn") if shutil.which(tool) is None]
    if not missing:
        return
    reason = f"no broker to test on: no Docker engine answers, and {' and '.join(missing)} is not installed"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
