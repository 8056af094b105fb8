"""`callstream broker`: the brokers themselves, and how they end."""

import re
import signal
import socket
from pathlib import Path

import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from tests.conftest import StartService
from tests.support.kafka import OwnKafka
from tests.support.processes import Service, run_to_end
from tests.support.waiting import eventually, free_port


class Embedded:
    """The embedded broker as a process."""

    def __init__(self, start_service: StartService) -> None:
        port = free_port()
        self.bootstrap = f"127.0.0.1:{port}"
        self.service: Service = start_service("broker", "embedded", "--port", str(port))

    @property
    def child(self) -> psutil.Process:
        _, broker = self.service.with_children()
        return broker


@pytest.fixture
async def embedded(start_service: StartService) -> Embedded:
    broker = Embedded(start_service)
    await broker.service.wait_until_ready()
    return broker


async def test_the_embedded_broker_gives_back_what_it_got(embedded: Embedded, tmp_path: Path, prefix: str) -> None:
    env = {"CALLSTREAM_KAFKA__BOOTSTRAP": embedded.bootstrap, "CALLSTREAM_TOPICS__PREFIX": prefix}
    exit_code, output = await run_to_end("topics", env=env, directory=tmp_path)
    assert exit_code == 0, output
    headers = [("ce_id", b"1")]
    await produce(embedded.bootstrap, f"{prefix}data.requests", b"value", headers)
    assert await consume(embedded.bootstrap, f"{prefix}data.requests") == [(b"key", b"value", headers)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_broker_that_is_asked_to_stop_ends_well_and_takes_its_child_along(
    embedded: Embedded, number: signal.Signals
) -> None:
    child = embedded.child
    psutil.Process(embedded.service.pid).send_signal(number)
    assert await embedded.service.wait() == 0
    assert not child.is_running()


async def test_a_killed_command_leaves_no_broker(embedded: Embedded) -> None:
    child = embedded.child
    embedded.service.kill()
    await eventually(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


async def test_a_broker_that_dies_by_itself_is_a_failure(embedded: Embedded) -> None:
    embedded.child.kill()
    assert await embedded.service.wait() == 1
    assert "the broker ended by itself, with exit code -9" in embedded.service.read_log()


async def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        exit_code, output = await run_to_end("broker", "embedded", "--port", str(port), directory=tmp_path)
    assert exit_code == 2
    assert re.fullmatch(rf"cannot listen on 127\.0\.0\.1:{port}: .+; choose another --port\n", output), output


@pytest.mark.parametrize(("tool", "there"), [("java", []), ("mvn", ["java"])])
async def test_a_missing_tool_is_one_line_that_says_what_to_install(
    tmp_path: Path, tool: str, there: list[str]
) -> None:
    for name in there:
        (tmp_path / name).touch(mode=0o755)
    env = {"PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    port = str(free_port())
    exit_code, output = await run_to_end("broker", "apache", "--port", port, env=env, directory=tmp_path)
    assert exit_code == 2
    assert re.fullmatch(rf"{tool} is not there: install .+\n", output), output


async def test_apache_kafka_keeps_its_data_over_a_stop_and_a_kill(
    own_kafka: OwnKafka, tmp_path: Path, prefix: str
) -> None:
    env = {"CALLSTREAM_KAFKA__BOOTSTRAP": own_kafka.bootstrap, "CALLSTREAM_TOPICS__PREFIX": prefix}
    exit_code, output = await run_to_end("topics", env=env, directory=tmp_path)
    assert exit_code == 0, output
    topic = f"{prefix}data.requests"
    await produce(own_kafka.bootstrap, topic, b"first")
    assert await own_kafka.stop() == 0
    await own_kafka.start()
    await produce(own_kafka.bootstrap, topic, b"second")
    own_kafka.kill()
    await own_kafka.start()
    assert [value for _, value, _ in await consume(own_kafka.bootstrap, topic, 2)] == [b"first", b"second"]


async def produce(bootstrap: str, topic: str, value: bytes, headers: list[tuple[str, bytes]] | None = None) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
        await producer.send_and_wait(topic, value, key=b"key", headers=headers or [])


async def consume(bootstrap: str, topic: str, count: int = 1) -> list[tuple[bytes, bytes, list[tuple[str, bytes]]]]:
    """Return key, value and headers of the first `count` records."""
    async with AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest") as consumer:
        records = [await consumer.getone() for _ in range(count)]
    return [(record.key, record.value, list(record.headers)) for record in records]
