"""How the client is made to fetch."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.consumer.fetcher import Fetcher
from faust.transport.drivers import aiokafka as driver

from stream_app import kafka_consumer as module
from stream_app.kafka_consumer import _paced, _Thread


async def test_fetches_keep_a_pace_at_each_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    now, slept, fetched = 100.0, [], []

    async def sleep(seconds: float) -> None:
        nonlocal now
        slept.append(round(max(0.0, seconds), 6))
        now += max(0.0, seconds)

    async def fetch(_assignment: object, broker: int, _request: object) -> bool:
        nonlocal now
        fetched.append(broker)
        now += 0.004
        return True

    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(module, "asyncio", SimpleNamespace(sleep=sleep))
    paced = _paced(fetch)
    for broker in (1, 1, 2, 1):
        assert await paced(None, broker, None)
    now += 1
    await paced(None, 1, None)
    assert fetched == [1, 1, 2, 1, 1]
    assert slept == [0.0, module._PACE, 0.0, round(module._PACE - 0.004, 6), 0.0]


async def test_the_client_waits_until_all_is_polled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The names are private: a release of aiokafka that changes them must not pass unseen."""
    monkeypatch.setattr(Fetcher, "_fetch_requests_routine", lambda _: asyncio.sleep(0))
    client: Any = SimpleNamespace(_loop=asyncio.get_running_loop(), _metadata_max_age_ms=1)
    fetcher = Fetcher(client, SimpleNamespace(register_fetch_waiters=lambda _: None))
    assert fetcher._prefetch_backoff < module._ALL_POLLED
    original = fetcher._proc_fetch_request
    monkeypatch.setattr(driver.AIOKafkaConsumerThread, "on_start", lambda _: asyncio.sleep(0))
    monkeypatch.setattr(_Thread, "_ensure_consumer", lambda _: SimpleNamespace(_fetcher=fetcher))
    await object.__new__(_Thread).on_start()
    assert fetcher._prefetch_backoff == module._ALL_POLLED
    assert fetcher._proc_fetch_request != original
    await fetcher._fetch_task


async def test_what_is_paused_is_polled_too(monkeypatch: pytest.MonkeyPatch) -> None:
    polled: list[set[str]] = []

    async def fetch(_thread: object, _consumer: object, partitions: set[str], **_: object) -> dict[str, str]:
        polled.append(partitions)
        return {}

    monkeypatch.setattr(driver.AIOKafkaConsumerThread, "_fetch_records", fetch)
    consumer = SimpleNamespace(paused=lambda: {"held"})
    active: Any = {"active"}
    await object.__new__(_Thread)._fetch_records(consumer, active, timeout=1.0)
    assert polled == [{"active", "held"}]
    assert active == {"active"}, "Faust's own set"
