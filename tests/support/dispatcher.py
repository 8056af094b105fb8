"""`callbacks` in one process, with topics of one partition each in place of a broker."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime

from callstream.contract.messages import TaskResult, Times
from callstream.contract.records import OutgoingRecord, Record, TopicPartition
from callstream.contract.signature import Signer
from callstream.runtime.settings import Settings
from callstream.sharing.room import Room, Size
from stream_app.callback_agent import CallbackAgent, Delivery
from stream_app.callbacks_main import limits_of
from stream_app.output import Output
from stream_app.receivers import Receivers
from stream_app.workload import Workload

_ACKNOWLEDGED = 0.01  # seconds until the broker has a record


class Dispatcher:
    """Delivers over `delivery` what is `finish`ed; `clock` and `monotonic` are its time."""

    def __init__(
        self,
        settings: Settings,
        delivery: Delivery,
        *,
        seed: int = 0,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._offsets: dict[str, int] = {}
        self.failures: list[BaseException] = []
        self.written = 0  # records
        self.charged: Counter[str] = Counter()  # attempts of each task
        self.receivers = Receivers(limits_of(settings), monotonic)
        agent = CallbackAgent(
            settings,
            delivery,
            Signer((), ()),
            self.receivers,
            Output(self, settings.sizes.dead_letter),
            clock=clock,
            chance=random.Random(seed).random,  # noqa: S311 - no secret
            monotonic=monotonic,
        )
        self._sources = set(agent.sources)
        self.workload = Workload(
            agent.process,
            span=settings.callbacks.window,
            room=Room(Size(settings.callbacks.in_flight, settings.callbacks.in_flight_bytes), lanes=2),
            lane=settings.topic_names.is_retry,
            flow=self,
            fail=self.failures.append,
            wake=agent.wake,
            clock=lambda: clock().timestamp(),
        )

    def hold(self, partition: TopicPartition) -> None: ...

    def release(self, partition: TopicPartition, again_from: int | None = None) -> None: ...

    async def produce(self, record: OutgoingRecord) -> None:
        self.written += 1
        if record.topic.endswith("callback.attempts"):
            self.charged[(record.key or b"").decode()] += 1
        await asyncio.sleep(_ACKNOWLEDGED)
        if record.topic in self._sources:
            self._store(record)

    def finish(self, task_id: str, url: str) -> None:
        """Let a task's result stand in `task.results`."""
        at = self._clock()
        result = TaskResult(
            task_id=task_id,
            task="calculation",
            callback_url=url,
            results=[{"sum": 1.0}],
            errors=[],
            times=Times(received=at, started=at, finished=at),
        )
        value = result.model_dump_json().encode()
        self._store(OutgoingRecord("task.results", task_id.encode(), value, (("ce_id", task_id.encode()),)))

    def _store(self, record: OutgoingRecord) -> None:
        offset = self._offsets[record.topic] = self._offsets.get(record.topic, -1) + 1
        place, stamp = TopicPartition(record.topic, 0), self._clock().timestamp()
        self.workload.admit(Record(place, offset, record.key, record.value, record.headers, stamp))
