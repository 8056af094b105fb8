"""Stores records in Kafka: acknowledged by `acks=all`, refused at once while that cannot be, never in silence."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Protocol

from aiokafka.errors import KafkaError, KafkaTimeoutError, MessageSizeTooLargeError

from callstream.contract.records import OutgoingRecord
from callstream.runtime.kafka import client_options, missing_topics
from callstream.runtime.logs import get_logger
from callstream.runtime.producers import Producer
from callstream.runtime.settings import Settings
from callstream.sharing.room import Room, Size
from gateway.budget import Budget
from gateway.ending import FLUSH
from gateway.unacknowledged import Unacknowledged

log = get_logger()

_LOOK = 1.0  # seconds between two looks at the broker
_FRESH = 3.0  # seconds for which a look counts
_BROKER_AWAY = 5  # seconds until a client should try again
_BUFFER_FULL = 1


class RefusedError(Exception):
    """Nothing was stored; `retry_after` is in seconds."""

    def __init__(self, text: str, retry_after: int) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class OutcomeUnknownError(Exception):
    """The record may or may not have been stored."""


class TooLargeError(Exception):
    """The record is larger than Kafka may take; nothing was stored."""


class Publisher(Protocol):
    @property
    def trouble(self) -> str | None:
        """Why nothing can be stored at the moment; None if it can. Known, not asked for: it never waits."""

    async def publish(self, record: OutgoingRecord, client: str, by: float) -> None:
        """Return when `record`, which `client` sent, is stored, or raise by `by` (in the loop's time).

        Raises:
            RefusedError: it was not tried, or not begun.
            OutcomeUnknownError: it was tried, and no acknowledgement came in time, or an error did.
            TooLargeError: the record is too large.
        """


class KafkaPublisher:
    """Publishes to `topics` by an idempotent producer, and knows whether the broker is there."""

    def __init__(self, settings: Settings, topics: Sequence[str], budget: Budget) -> None:
        self._topics = topics
        self._bootstrap = settings.kafka.bootstrap
        self._deadline = settings.gateway.deadline.total_seconds()
        self._budget = budget
        self._options = client_options(settings, "gateway") | {
            "acks": "all",
            "enable_idempotence": settings.kafka.idempotent,
            "linger_ms": 0,
            "max_batch_size": settings.sizes.batch,
            "max_request_size": settings.sizes.request,
            "request_timeout_ms": round(settings.kafka.request_timeout.total_seconds() * 1000),
        }
        self._producer: Producer | None = None
        self._ending: set[asyncio.Task[None]] = set()  # of producers that have died
        self._seen = float("-inf")
        self._missing: list[str] = []
        self._room = Room(Size(settings.gateway.in_flight, settings.gateway.in_flight_bytes), lanes=len(topics))
        self._sent = Unacknowledged(topics)

    @property
    def trouble(self) -> str | None:
        now = asyncio.get_running_loop().time()
        if self._producer is None or now - self._seen > _FRESH:
            return f"the broker at {self._bootstrap} does not answer"
        # Where something is wrong with some topics only, the others can be served.
        if any(self._trouble_of(topic) is None for topic in self._topics):
            return None
        return missing_topics(self._missing) if self._missing else self._trouble_of(self._topics[0])

    def _trouble_of(self, topic: str) -> str | None:
        if topic in self._missing:
            return missing_topics([topic])
        if self._sent.age(topic, asyncio.get_running_loop().time()) > self._deadline:
            return f"the broker at {self._bootstrap} does not acknowledge what is sent to {topic}"
        return None

    async def publish(self, record: OutgoingRecord, client: str, by: float) -> None:
        producer, size = self._admit(record, client)
        release = partial(self._release, record.topic, client, size)
        try:
            sent = await self._enter(producer, record, by)
        except BaseException:
            release()
            raise
        self._sent.add(record.topic, sent, asyncio.get_running_loop().time())
        sent.add_done_callback(lambda _: release())
        try:
            async with asyncio.timeout_at(by):
                await asyncio.shield(sent)  # it stays in flight for as long as the producer holds it
        except TimeoutError:
            raise OutcomeUnknownError("the broker did not acknowledge in time") from None
        except KafkaError as error:
            raise OutcomeUnknownError(repr(error)) from error

    @asynccontextmanager
    async def running(self, fail: Callable[[BaseException], None]) -> AsyncIterator[None]:
        """Look after the broker for the length of the block; at its end what is in flight is waited for.

        Call `fail` with the error if that ends before: nothing would be stored any more, and nobody told.
        """
        watching = asyncio.create_task(self._watch())
        ended = partial(_fail, fail)
        watching.add_done_callback(ended)
        try:
            yield
        finally:
            watching.remove_done_callback(ended)
            watching.cancel()
            await asyncio.wait({watching})
            if self._producer is not None:
                self._end_beside(self._producer, min(FLUSH, self._deadline))
            await asyncio.gather(*self._ending)

    def _admit(self, record: OutgoingRecord, client: str) -> tuple[Producer, int]:
        """Return the producer, and how many bytes are reserved for the record from here until it is settled.

        Requests that have not arrived give up for it.
        """
        trouble = self.trouble or self._trouble_of(record.topic)
        if trouble is not None:
            raise RefusedError(trouble, _BROKER_AWAY)
        assert self._producer is not None  # noqa: S101 - for mypy; else there is trouble
        size = len(record.value or b"")
        if not self._room.has(record.topic) or not self._budget.reserve(client, size, size):
            raise RefusedError("too many requests wait for the broker", _BUFFER_FULL)
        self._room.enter(record.topic, size)
        return self._producer, size

    async def _enter(self, producer: Producer, record: OutgoingRecord, by: float) -> asyncio.Future[object]:
        """Give the record to the producer, which takes it when there is room in its partition's batch."""
        try:
            async with asyncio.timeout_at(by):
                sent: asyncio.Future[object] = await producer.send(
                    record.topic, record.value, record.key, headers=list(record.headers)
                )
        except (TimeoutError, KafkaTimeoutError):
            raise RefusedError("the producer's buffer is full", _BUFFER_FULL) from None
        except MessageSizeTooLargeError as error:
            raise TooLargeError(str(error)) from error
        except KafkaError as error:
            raise RefusedError(repr(error), _BROKER_AWAY) from error
        return sent

    def _release(self, topic: str, client: str, size: int) -> None:
        self._room.leave(topic, size)
        self._budget.release(client, size)

    async def _watch(self) -> None:
        """Start the producer, look at the broker every second, tell of changes, renew a producer that has died."""
        said: str | None = ""
        while True:
            if self._producer is not None and self._producer.died:
                log.error("producer.died", in_flight=self._room.records)
                dead, self._producer = self._producer, None
                # Beside: it may take the deadline, and nothing could be stored for so long.
                self._end_beside(dead, self._deadline)
            if self._producer is None:
                self._producer = await self._start()
            if self._producer is not None:
                await self._look(self._producer)
            if (trouble := self.trouble) != said:
                said = trouble
                if trouble is None:
                    log.info("gateway.ready")
                else:
                    log.warning("gateway.unready", trouble=trouble)
            await asyncio.sleep(_LOOK)

    async def _start(self) -> Producer | None:
        producer = Producer(**self._options)
        try:
            async with asyncio.timeout(self._deadline):
                await producer.start()
        except (KafkaError, OSError, TimeoutError):
            await self._stop(producer, self._deadline)
            return None
        producer.client.set_topics(self._topics)  # else it would ask for every topic of the cluster
        return producer

    async def _look(self, producer: Producer) -> None:
        try:
            async with asyncio.timeout(_LOOK):
                answered = await producer.client.force_metadata_update()
        except TimeoutError:
            return
        if answered:
            self._seen = asyncio.get_running_loop().time()
            cluster = producer.client.cluster
            missing = [topic for topic in self._topics if not cluster.partitions_for_topic(topic)]
            if missing not in ([], self._missing, self._topics):
                log.warning("topics.missing", trouble=missing_topics(missing))
            self._missing = missing

    def _end_beside(self, producer: Producer, within: float) -> None:
        ending = asyncio.create_task(self._stop(producer, within))
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    async def _stop(self, producer: Producer, within: float) -> None:
        """Flush and close; what the broker does not acknowledge `within` seconds is given up, as is its answer."""
        if (error := await producer.end(within)) is not None:
            log.warning("producer.cut-short", in_flight=self._room.records, error=error)


def _fail(fail: Callable[[BaseException], None], watching: asyncio.Task[None]) -> None:
    error = asyncio.CancelledError("it was cancelled") if watching.cancelled() else watching.exception()
    assert error is not None  # noqa: S101 - for mypy; it goes on for ever otherwise
    fail(error)
