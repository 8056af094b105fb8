"""Produces records one at a time, each acknowledged by `acks=all`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError

from callstream.contract.records import OutgoingRecord
from callstream.runtime.kafka import client_options
from callstream.runtime.settings import Settings

_STOP = 5  # seconds for what was sent and is not acknowledged


class TooLargeError(Exception):
    """The record is larger than its topic allows; nothing was stored."""


class KafkaProducer:
    def __init__(self, producer: AIOKafkaProducer, patience: float) -> None:
        self._producer = producer
        self._patience = patience

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
                await self._producer.send_and_wait(record.topic, record.value, record.key, headers=headers)
        except (MessageSizeTooLargeError, RecordListTooLargeError) as error:
            raise TooLargeError(str(error)) from error


@asynccontextmanager
async def producer_of(settings: Settings) -> AsyncIterator[KafkaProducer]:
    patience = settings.kafka.request_timeout.total_seconds()
    producer = AIOKafkaProducer(
        **client_options(settings, "dead-letters"),
        acks="all",
        enable_idempotence=settings.kafka.idempotent,
        max_request_size=2 * settings.topics.max_message_bytes,
        request_timeout_ms=round(patience * 1000),
    )
    try:
        await producer.start()
        yield KafkaProducer(producer, patience)
    finally:
        await _stop(producer)


async def _stop(producer: AIOKafkaProducer) -> None:
    try:
        async with asyncio.timeout(_STOP):
            await producer.stop()
    except (KafkaError, TimeoutError):
        await producer.client.close()
