"""Produces records one at a time, each acknowledged by `acks=all`."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiokafka.errors import MessageSizeTooLargeError, RecordListTooLargeError

from callstream.contract.records import OutgoingRecord
from callstream.runtime.kafka import client_options
from callstream.runtime.producers import Producer
from callstream.runtime.settings import Settings

_STOP = 5  # seconds for what was sent and is not acknowledged


class TooLargeError(Exception):
    """The record is larger than its topic allows; nothing was stored."""


class KafkaProducer:
    """Makes its producer anew where a record was refused: it could not go on."""

    def __init__(self, options: Mapping[str, Any], patience: float) -> None:
        self._options = options
        self._patience = patience
        self._producer: Producer | None = None

    async def produce(self, record: OutgoingRecord) -> None:
        """Return when the broker has acknowledged `record`.

        Raises:
            TooLargeError: the record is too large.
            TimeoutError: it did not in time; it may have stored it.
            KafkaError: it refuses.
        """
        headers = list(record.headers)
        try:
            async with asyncio.timeout(self._patience):  # an idempotent producer would try for ever
                producer = await self._living()
                await producer.send_and_wait(record.topic, record.value, record.key, headers=headers)
        except (MessageSizeTooLargeError, RecordListTooLargeError) as error:
            raise TooLargeError(str(error)) from error

    async def start(self) -> None:
        self._producer = Producer(**self._options)
        await self._producer.start()

    async def stop(self) -> None:
        if self._producer is not None:
            await self._producer.end(_STOP)

    async def _living(self) -> Producer:
        if self._producer is None or self._producer.died:
            await self.stop()
            await self.start()
        assert self._producer is not None  # noqa: S101 - for mypy
        return self._producer


@asynccontextmanager
async def producer_of(settings: Settings) -> AsyncIterator[KafkaProducer]:
    patience = settings.kafka.request_timeout.total_seconds()
    options = client_options(settings, "dead-letters") | {
        "acks": "all",
        "enable_idempotence": settings.kafka.idempotent,
        "max_request_size": settings.sizes.dead_letter,  # what fits its topic is the broker's to say
        "request_timeout_ms": round(patience * 1000),
    }
    producer = KafkaProducer(options, patience)
    try:
        await producer.start()
        yield producer
    finally:
        await producer.stop()
