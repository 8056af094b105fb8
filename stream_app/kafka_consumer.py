"""Faust's consumer, which commits what the workload says and notes beside it how the partitions fare."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, cast

from aiokafka.errors import CommitFailedError, KafkaError
from aiokafka.structs import OffsetAndMetadata
from aiokafka.structs import TopicPartition as KafkaPartition
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from callstream.contract.records import TopicPartition
from stream_app.suspects import Note, Place, Suspects

if TYPE_CHECKING:
    from stream_app.kafka_app import KafkaApp

# An assignment must not wait for one partition without a leader: the group would take the process for dead.
_PATIENCE = 1_000  # milliseconds
# How the client fetches: docs/decisions/0011-fetch-when-all-is-polled.md.
_PACE = 0.010  # seconds from the end of a fetch to the next one at the same broker
_ALL_POLLED = 5.0  # seconds after which a broker is asked again although not all that it gave is polled


class _Thread(driver.AIOKafkaConsumerThread):
    """Where Faust's consumer lives; Faust neither reads nor commits what may stand beside an offset."""

    async def committed(self, partitions: Iterable[TP]) -> Mapping[TP, OffsetAndMetadata]:
        coordinator = self._ensure_consumer()._coordinator  # noqa: SLF001 - the consumer's own method gives offsets alone
        wanted = list(map(_kafka, partitions))
        return cast(
            "Mapping[TP, OffsetAndMetadata]", await self.call_thread(coordinator.fetch_committed_offsets, wanted)
        )

    async def edges(self, edge: Literal["beginning", "end"], partitions: Iterable[TP]) -> Mapping[TP, int]:
        """Return the offset at this edge of each partition; none if a leader does not answer soon."""
        fetcher = self._ensure_consumer()._fetcher  # noqa: SLF001 - the consumer's own method waits too long
        ask = {"beginning": fetcher.beginning_offsets, "end": fetcher.end_offsets}[edge]
        try:
            return cast("Mapping[TP, int]", await self.call_thread(ask, list(map(_kafka, partitions)), _PATIENCE))
        except KafkaError:
            return {}

    def fetch_no_more(self, tp: TP, *, paused: bool) -> None:
        """Let the client fetch nothing of a partition, or something again; what it has polled is not touched."""

        def apply() -> None:
            consumer = self._ensure_consumer()
            if (partition := _kafka(tp)) in consumer.assignment():
                (consumer.pause if paused else consumer.resume)(partition)

        self.thread_loop.call_soon_threadsafe(apply)

    async def ping(self) -> None:
        if not self.thread_loop.is_running():
            return  # it begins, or ends
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(asyncio.sleep(0), self.thread_loop))

    async def on_start(self) -> None:
        await super().on_start()
        fetcher = self._ensure_consumer()._fetcher  # noqa: SLF001 - it has no settings for this
        fetcher._prefetch_backoff = _ALL_POLLED  # noqa: SLF001
        fetcher._proc_fetch_request = _paced(fetcher._proc_fetch_request)  # noqa: SLF001

    async def _fetch_records(self, consumer: Any, active_partitions: set[TP], *args: Any, **options: Any) -> Any:
        # What is paused is polled too: the client lets go of what it had of it, and fetches it again later.
        return await super()._fetch_records(consumer, active_partitions | consumer.paused(), *args, **options)

    async def _commit(self, offsets: Mapping[TP, OffsetAndMetadata]) -> bool:
        assigned = self.assignment()
        ours = {_kafka(tp): offset for tp, offset in offsets.items() if tp in assigned}
        try:
            if ours:
                await self._ensure_consumer().commit(ours)
        except CommitFailedError:  # the group has rebalanced
            return False
        except Exception as error:  # noqa: BLE001 - whatever it is ends the process, as in Faust
            await self.crash(error)
            return False
        return len(ours) == len(offsets)


class Consumer(driver.Consumer):
    app: "KafkaApp"
    _thread: _Thread

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._released = asyncio.Event()
        self._committing = asyncio.Lock()
        self._found: dict[TP, int] = {}  # where each partition was to be begun, until it is given back

    def _new_consumer_thread(self) -> _Thread:
        return _Thread(self, loop=self.loop, beacon=self.beacon)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        if self.app.suspects is not None and not self.app.should_stop:
            try:
                await self._take_over(assigned, self.app.suspects)
            except Exception as error:  # noqa: BLE001 - aiokafka would only log it, and wait for ever
                await self.crash(error)
                return
        await super().on_partitions_assigned(assigned, generation_id)

    async def _take_over(self, assigned: set[TP], suspects: Suspects) -> None:
        """Find out how the partitions were left, and commit that they are ours, before any record is read."""
        committed = await self._thread.committed(assigned)
        starts = await self._thread.edges("beginning", [tp for tp in assigned if tp not in committed])
        self._found = {TP(*tp): offset for tp, offset in starts.items()}
        self._found |= {TP(*tp): found.offset for tp, found in committed.items()}
        notes = {tp: Note.read(found.metadata) for tp, found in committed.items()}
        ends = await self._thread.edges("end", [tp for tp, note in notes.items() if suspects.left_by_the_dead(note)])
        suspects.take_over(
            {
                TopicPartition(*tp): Place(notes.get(tp, Note()), position, ends.get(tp, sys.maxsize))
                for tp, position in self._found.items()
            }
        )
        await self._commit(self._found)

    async def ping(self) -> None:
        """Return when the consumer's thread has answered."""
        await self._thread.ping()

    async def give_back(self) -> None:
        """Commit how far every partition is, and that this process ends its work on them in good order."""
        if self.app.suspects is not None:
            self.app.suspects.give_back()
        await self.save()
        self._found = {}  # or a stop before the next assignment would commit them again

    async def save(self) -> bool:
        """Commit how far every partition is, moved or not; return whether that was possible."""
        positions = {TP(*tp): offset for tp, offset in self.app.workload.positions().items()}
        return await self._commit(self._found | positions)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        suspects = self.app.suspects
        async with self._committing:  # so that no older note overtakes a newer one
            noted = {}
            for tp, offset in offsets.items():
                note = suspects.note(TopicPartition(*tp), offset) if suspects is not None else ""
                noted[tp] = OffsetAndMetadata(offset, note)
            return await self._thread.commit(noted)

    def _filter_committable_offsets(self, tps: Iterable[TP]) -> dict[TP, int]:  # noqa: ARG002 - the windows know
        positions = ((TP(*partition), offset) for partition, offset in self.app.workload.positions().items())
        return {tp: offset for tp, offset in positions if self._should_commit(tp, offset)}

    async def _wait_next_records(self, timeout: float) -> Any:  # noqa: ASYNC109 - Faust's own signature
        # Left alone, Faust sleeps for a second when every partition is held, and while it waits for the others it
        # does not notice that one was released.
        if self.flow_active and not self._get_active_partitions():
            self._released.clear()
            await self.wait(self._released.wait(), timeout=timeout)
        return await super()._wait_next_records(min(timeout, 0.1) if self._buffered_partitions else timeout)

    # `on_buffer_full` and not `pause_partitions`: that silently drops what was polled and not yet delivered. The client
    # must know as well, or it would fetch what nobody polls.

    def hold(self, partition: TopicPartition) -> None:
        self.on_buffer_full(TP(*partition))
        self._thread.fetch_no_more(TP(*partition), paused=True)

    def release(self, partition: TopicPartition) -> None:
        self.on_buffer_drop(TP(*partition))
        self._thread.fetch_no_more(TP(*partition), paused=False)
        self._released.set()


class Transport(driver.Transport):
    Consumer = Consumer


def _paced(fetch: Callable[[Any, int, Any], Awaitable[bool]]) -> Callable[[Any, int, Any], Awaitable[bool]]:
    """Return `fetch`, held to a pace for each broker."""
    last: dict[int, float] = {}

    async def paced(assignment: Any, broker: int, request: Any) -> bool:
        await asyncio.sleep(last.get(broker, 0.0) + _PACE - time.monotonic())  # over, if nothing came for a while
        try:
            return await fetch(assignment, broker, request)
        finally:
            last[broker] = time.monotonic()

    return paced


def _kafka(tp: TP) -> KafkaPartition:
    return KafkaPartition(*tp)
