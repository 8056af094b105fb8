"""Faust, and what we put around it so that it loses nothing (docs/decisions/0001-window-instead-of-fausts-acks.md).

Streams are read with `noack()`. What is committed comes from the workload's windows alone: Faust's own bookkeeping
acknowledges records out of order, after errors, and when it skips what an earlier generation had fetched.
"""

import asyncio
import math
from datetime import timedelta
from typing import Any, cast

import faust
from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from faust.exceptions import ProducerSendError
from faust.types import TP, ConsumerT, TransportT

from callstream.contract.records import Gap, OutgoingRecord, Record, TopicPartition
from callstream.runtime.producers import partition_for
from callstream.runtime.settings import Settings
from stream_app.kafka_assignor import Assignor
from stream_app.kafka_consumer import IN_A_TURN, Consumer, Transport
from stream_app.kafka_fetched import Limits
from stream_app.output import ProduceError, RecordTooLargeError
from stream_app.suspects import Suspects
from stream_app.workload import Workload

_DATA_FETCH = 2**20  # bytes a partition and fetch; a larger record still comes, alone
# A rebalance stops every partition of the group. Work under way gets this long to end, in seconds, before it is given
# up to be done again by the partition's next owner, where that is another process.
_REBALANCE_DRAIN = 1.0
_NEVER = timedelta(days=365).total_seconds()


class KafkaApp(faust.App):
    """A Faust app that reads the raw records of some topics into a workload, and produces records.

    `assigned` is set when the group has given this member its partitions.
    """

    workload: Workload
    suspects: Suspects

    def __init__(self, settings: Settings, group: str, drain: timedelta, linger: timedelta = timedelta(0)) -> None:
        kafka = settings.kafka
        super().__init__(
            f"{settings.topics.prefix}callstream-{group}",
            broker=[f"kafka://{server}" for server in kafka.bootstrap.split(",")],
            broker_client_id=f"callstream-{group}",
            broker_session_timeout=kafka.session_timeout.total_seconds(),
            broker_heartbeat_interval=kafka.session_timeout.total_seconds() / 4,
            broker_request_timeout=max(kafka.request_timeout, kafka.session_timeout * 2).total_seconds(),
            # An idle member is not a dead one; with a bound, an idle standby is evicted for good.
            broker_max_poll_interval=3e7,
            broker_max_poll_records=100,
            broker_commit_interval=1.0,
            broker_commit_livelock_soft_timeout=_NEVER,
            stream_processing_timeout=_NEVER,
            stream_wait_empty=False,
            consumer_auto_offset_reset="earliest",
            consumer_max_fetch_size=_DATA_FETCH,
            producer_acks=-1,
            producer_linger=linger.total_seconds(),
            producer_partitioner=partition_for,
            producer_max_batch_size=settings.sizes.batch,
            producer_max_request_size=settings.sizes.dead_letter,
            producer_request_timeout=kafka.request_timeout.total_seconds(),
            topic_allow_declare=False,
            topic_disable_leader=True,
            web_enabled=False,
            store="memory://",
            PartitionAssignor=Assignor,
        )
        self.fetch_limits = Limits.of(settings.sizes)
        self.drain_seconds = drain.total_seconds()
        self.assigned = asyncio.Event()
        self._handed_over: asyncio.Queue[Any] | None = None  # records that the agent has not admitted yet
        self._generation = -1  # of the group, in which this process had partitions the last time
        self.on_partitions_revoked.connect(cast("Any", self._on_revoked))
        self.on_partitions_assigned.connect(self._on_assigned)

    def read(self, topics: list[str], workload: Workload, suspects: Suspects) -> None:
        """Read these topics into `workload`, and commit what it says, with the notes of `suspects`."""
        self.workload = workload
        self.suspects = suspects
        source = self.topic(
            *topics,
            key_type=bytes,
            value_type=bytes,
            key_serializer="raw",
            value_serializer="raw",
            allow_empty=True,
        )

        async def admit(stream: Any) -> None:
            self._handed_over = queue = stream.channel.queue
            async for event in stream.noack().events():
                await self._admit(event.message)
                # A stream gives one a turn of the event loop, and turns are long where fetches have much to do.
                for _ in range(IN_A_TURN - 1):
                    if queue.empty():  # which a rebalance makes it, while we wait
                        break
                    await self._admit(queue.get_nowait().message)

        self.agent(source, name="admit")(admit)

    async def _admit(self, message: Any) -> None:
        if message.generation_id != self.consumer_generation_id or not self.flow_control.is_active():
            return  # the partition may be another's by now; it is read again by who has it
        record = _record(message)
        self.workload.admit(record)
        if record.gap is not None and record.gap.anew:
            await cast("Consumer", self.consumer).begun_again(record.partition)

    @property
    def takes_at_once(self) -> bool:
        """Whether a record can be handed over to the agent without waiting."""
        queue = self._handed_over
        return queue is not None and not queue.full() and self.flow_control.is_active()

    async def produce(self, record: OutgoingRecord) -> None:
        """Produce a record; return when the broker has acknowledged it.

        Raises:
            RecordTooLargeError: the record is larger than the topic allows.
            ProduceError: the broker did not take it within the request timeout.
        """
        # Kafka has records without key and value; aiokafka asserts that there are none.
        key = b"" if record.key is None and record.value is None else record.key
        try:
            headers = cast("Any", list(record.headers))  # Faust's types know no null values, Kafka does
            sent = await self.producer.send(
                record.topic, key, record.value, partition=None, timestamp=None, headers=headers
            )
            await sent
        except (ProducerSendError, KafkaError) as error:
            cause = error.__cause__ if isinstance(error, ProducerSendError) else error
            if isinstance(cause, MessageSizeTooLargeError):
                raise RecordTooLargeError(str(cause)) from error
            raise ProduceError(repr(cause)) from error

    def hold(self, partition: TopicPartition) -> None:
        cast("Consumer", self.consumer).hold(partition)

    def release(self, partition: TopicPartition, again_from: int | None = None) -> None:
        cast("Consumer", self.consumer).release(partition, again_from)

    def end(self, partition: TopicPartition) -> int | None:
        """Return the offset at which the log was last seen to end; None where that is not known."""
        return cast("Consumer", self.consumer).end(partition)

    @property
    def committing(self) -> float:
        """For how many seconds the commit under way has been so; 0 if none is."""
        return cast("Consumer", self.consumer).committing if self.started else 0.0

    @property
    def missing(self) -> frozenset[str]:
        """The topics that are to be read and are not there."""
        return cast("Consumer", self.consumer).missing if self.started else frozenset()

    async def ping(self) -> None:
        """Return when the thread in which the consumer lives has answered."""
        if self.started:
            await cast("Consumer", self.consumer).ping()

    async def save(self) -> bool:
        """Commit every position with its note now; return whether that was possible."""
        return await cast("Consumer", self.consumer).save()

    def _new_transport(self) -> TransportT:
        return Transport(self.conf.broker_consumer, self)

    async def _consumer_wait_empty(self, consumer: ConsumerT, logger: Any) -> None:  # noqa: ARG002 - Faust's signature
        await self.workload.drain(self.drain_seconds if self.should_stop else _REBALANCE_DRAIN)
        await cast("Consumer", consumer).give_back()

    async def _on_revoked(self, *_: Any, **__: Any) -> None:
        self._generation = self.consumer_generation_id

    def keep(self, assigned: set[TP], generation: int) -> None:
        """Go on with the partitions that are still ours after a rebalance, and give up the others.

        Where the group had a generation without us, another may have had any of them meanwhile.
        """
        missing = self.missing
        self.workload.leave([each for each in self.workload.partitions if each.topic in missing])
        kept = {TopicPartition(*tp) for tp in assigned} if generation == self._generation + 1 else set()
        self.workload.revoke(set(self.workload.partitions) - kept)
        self.workload.forget_waiting()

    async def _on_assigned(self, *_: Any, **__: Any) -> None:
        if not self.should_stop:
            self.workload.resume()
        self.assigned.set()

    def _create_directories(self) -> None:
        """No tables, so no files."""


def _record(message: Any) -> Record:
    return Record(
        TopicPartition(message.topic, message.partition),
        message.offset,
        message.key,
        message.value,
        tuple(message.headers or ()),
        math.nan if message.timestamp is None else message.timestamp,
        message.checksum if isinstance(message.checksum, Gap) else None,  # where kafka_fetched.py puts it
    )
