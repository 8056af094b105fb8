"""One pipeline, with the same settings for every test of a module."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
import pytest_asyncio

from tests.support.kafka import Kafka
from tests.support.pipeline import Pipeline, pipeline_on
from tests.support.receiver import Receiver, receiving


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def pipeline(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pipeline]:
    settings = {
        "CALLSTREAM_TOPICS__PREFIX": f"e{uuid4().hex[:12]}.",
        "CALLSTREAM_TOPICS__PARTITIONS": "2",
        "CALLSTREAM_CALLBACKS__SCHEDULE": "50ms,100ms",
        "CALLSTREAM_TASKS__ITEM_DEADLINE": "2",
    }
    async with pipeline_on(kafka.bootstrap, tmp_path_factory.mktemp("pipeline"), settings) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as running:
        yield running
