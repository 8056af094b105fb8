"""Whether every request that was accepted came to its end: a callback, or a dead letter."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.structs import TopicPartition
from pydantic import ValidationError

from callstream.contract.messages import CallbackAttempt
from callstream.contract.sizes import ATTEMPT
from stream_app.kafka_fetch import Fetches
from stream_app.kafka_fetched import Limits
from tests.support.pipeline import Pipeline

_TOPICS = ("callback.attempts", "task.dead-letters", "callback.dead-letters")
_FETCH = 2**24  # bytes


@dataclass
class Accounts:
    """Reads the pipeline's topics on from where it was. `ended` are the task ids that came to an end."""

    pipeline: Pipeline
    ended: set[str] = field(default_factory=set)
    letters: int = 0
    _positions: dict[TopicPartition, int] = field(default_factory=dict)

    async def missing(self, accepted: Iterable[str]) -> set[str]:
        """Return those of the accepted that neither called back nor are dead letters by now."""
        async with AIOKafkaConsumer(
            bootstrap_servers=self.pipeline.env["CALLSTREAM_KAFKA__BOOTSTRAP"],
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=_FETCH,
        ) as consumer:
            limits = Limits(kept=_FETCH, inflated=_FETCH)
            Fetches(consumer._fetcher, limits, moved={}).take_the_place()  # attacks write to these topics, too
            partitions = [
                TopicPartition(self.pipeline.prefix + topic, number)
                for topic in _TOPICS
                for number in range(int(self.pipeline.env["CALLSTREAM_TOPICS__PARTITIONS"]))
            ]
            consumer.assign(partitions)
            for partition, end in (await consumer.end_offsets(partitions)).items():
                consumer.seek(partition, self._positions.get(partition, 0))
                while await consumer.position(partition) < end:
                    for record in (await consumer.getmany(partition, timeout_ms=1_000)).get(partition, []):
                        self._take(record)
                self._positions[partition] = end
        return set(accepted) - self.ended

    def _take(self, record: ConsumerRecord) -> None:
        if record.topic.endswith("callback.attempts"):
            value = record.value or b""
            if len(value) > ATTEMPT:
                return  # an attack wrote it
            try:
                attempt = CallbackAttempt.model_validate_json(value)
            except ValidationError:
                return  # likewise
            if attempt.outcome == "delivered":
                self.ended.add(attempt.task_id)
        else:
            self.letters += 1
            self.ended.update(
                value.decode(errors="replace") for name, value in record.headers if name == "ce_id" and value
            )
