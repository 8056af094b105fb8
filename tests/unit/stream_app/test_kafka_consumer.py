"""How the client is made to poll."""

from types import SimpleNamespace
from typing import Any

import pytest
from faust.transport.drivers import aiokafka as driver

from stream_app.kafka_thread import ConsumerThread


async def test_what_is_paused_is_polled_too(monkeypatch: pytest.MonkeyPatch) -> None:
    polled: list[set[str]] = []

    async def fetch(_thread: object, _consumer: object, partitions: set[str], **_: object) -> dict[str, str]:
        polled.append(partitions)
        return {}

    monkeypatch.setattr(driver.AIOKafkaConsumerThread, "_fetch_records", fetch)
    consumer = SimpleNamespace(paused=lambda: {"held"})
    active: Any = {"active"}
    await object.__new__(ConsumerThread)._fetch_records(consumer, active, timeout=1.0)
    assert polled == [{"active", "held"}]
    assert active == {"active"}, "Faust's own set"
