"""Fixtures that every kind of test may use; what they give is in tests/support."""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol
from uuid import uuid4

import pytest
import pytest_asyncio

from tests.support.kafka import Kafka, OwnKafka, own_kafka, shared_kafka, where_shared_kafka_runs
from tests.support.processes import Service


def pytest_report_header() -> str:
    return f"Apache Kafka: the shared one {where_shared_kafka_runs()}, those of single tests as processes (Java, Maven)"


class StartService(Protocol):
    def __call__(self, *command: str, env: dict[str, str] | None = None) -> Service: ...


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def kafka(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Kafka]:
    """The broker that tests share; `kafka.bootstrap` says where."""
    async with shared_kafka(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def _own_kafka(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OwnKafka]:
    async with own_kafka(tmp_path_factory.mktemp("own-kafka")) as broker:
        yield broker


@pytest_asyncio.fixture(name="own_kafka")
async def _mended_kafka(_own_kafka: OwnKafka) -> OwnKafka:
    """A broker that no other test has meanwhile: pause(), resume(), kill(), await stop(), await start().

    Topics of earlier tests are in it: keep to the test's own `prefix`.
    """
    await _own_kafka.mend()
    return _own_kafka


@pytest.fixture
def prefix() -> str:
    """A prefix for the test's own topics and groups."""
    return f"t{uuid4().hex[:12]}."


@pytest.fixture
def start_service(tmp_path: Path) -> Iterator[StartService]:
    """Start `callstream <command>`; every such process ends with the test."""
    with ExitStack() as stack:

        def start(*command: str, env: dict[str, str] | None = None) -> Service:
            return stack.enter_context(Service(*command, env=env, directory=tmp_path))

        yield start
