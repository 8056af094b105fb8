"""The client for Python on a real broker."""

import asyncio

import pytest

from callstream.client import Callstream, InvalidError
from tests.support.kafka import Kafka, create_topics

ITEM = {"name": "sum", "num_1": 1.0, "num_2": 2.0, "operation": "+", "result_rounding": 0}
HUGE = [ITEM | {"name": "x" * 1_000}] * 20


async def test_a_client_goes_on_after_the_broker_refused_a_record(kafka: Kafka, prefix: str) -> None:
    await create_topics(kafka.bootstrap, f"{prefix}calculation.requests", max_message_bytes="10000")
    async with Callstream.over_kafka(kafka.bootstrap, prefix=prefix) as client:
        await client.submit("calculation", message=[ITEM])
        with pytest.raises(InvalidError, match="MessageSizeTooLarge"):
            await client.submit("calculation", message=HUGE)
        tries = (client.submit("calculation", message=[ITEM]) for _ in range(20))
        assert len(set(await asyncio.gather(*tries))) == 20
