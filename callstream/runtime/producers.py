"""The producer of every process of ours that has to go on for long."""

import asyncio
from hashlib import blake2b
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.partitioner import DefaultPartitioner

_LONG = 1_024  # bytes of a key
_default = DefaultPartitioner()


def partition_for(key: bytes | None, partitions: list[int], available: list[int]) -> int:
    """Return the partition for a record as Kafka's own clients choose it, except for long keys.

    aiokafka hashes a key in Python, 0.4 s a megabyte in the event loop, and keys may be as large as values.
    """
    if key is not None and len(key) > _LONG:
        key = blake2b(key, digest_size=8).digest()
    return int(_default(key, partitions, available))


class Producer(AIOKafkaProducer):  # type: ignore[misc]  # it has no types
    """aiokafka's producer, and whether it has to be replaced by a new one.

    An idempotent producer numbers its records, and aiokafka (0.14) goes on counting past those that the broker refused:
    every later record for that partition is then out of order, for ever. And where its sender meets an error that it
    cannot get over, it ends. Neither heals by itself: https://github.com/aio-libs/aiokafka/issues/1017.
    """

    def __init__(self, *, enable_idempotence: bool = False, **options: Any) -> None:  # noqa: ANN401 - aiokafka's own
        super().__init__(enable_idempotence=enable_idempotence, partitioner=partition_for, **options)
        self._counts = enable_idempotence
        self._refused = False

    @property
    def died(self) -> bool:
        """Whether records may fail from now on, whatever they are; stop it, and start another."""
        sender: asyncio.Task[None] | None = self._sender.sender_task
        return self._refused or (sender is not None and sender.done())

    async def send(self, *arguments: Any, **options: Any) -> asyncio.Future[Any]:  # noqa: ANN401 - aiokafka's own
        sent: asyncio.Future[Any] = await super().send(*arguments, **options)
        if self._counts:
            sent.add_done_callback(self._look)
        return sent

    async def end(self, within: float) -> str | None:
        """Flush and close within so many seconds; return why what was not acknowledged was given up, None if none was.

        Without a bound an idempotent producer would try for ever.
        """
        try:
            async with asyncio.timeout(within):
                await self.stop()
        except (KafkaError, TimeoutError) as error:
            await self.client.close()
            return repr(error)
        return None

    def _look(self, sent: asyncio.Future[Any]) -> None:
        if not sent.cancelled() and sent.exception() is not None:
            self._refused = True
