"""How records are fetched: at a pace, whatever the log holds, and never past what is in it.

aiokafka's fetcher decides what to fetch and when; the answers are read here, in place of its `_proc_fetch_request`
(docs/decisions/0017-nothing-in-a-log-ends-its-reader.md, 0018-positions-are-held-against-the-log.md).
"""

import asyncio
import time
from collections import defaultdict
from typing import Any, NamedTuple

from aiokafka.consumer.fetcher import OffsetResetStrategy
from aiokafka.errors import (
    KafkaError,
    NotLeaderForPartitionError,
    OffsetOutOfRangeError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.structs import TopicPartition as Partition

from callstream.contract.records import Gap
from callstream.runtime.logs import get_logger
from stream_app.kafka_fetched import Fetched, Limits
from stream_app.kafka_marks import Marks
from stream_app.kafka_polls import Polls
from stream_app.kafka_ready import Ready

log = get_logger()
# How the client fetches: docs/decisions/0011-fetch-when-all-is-polled.md.
_PACE = 0.010  # seconds from the end of a fetch to the next one at the same broker
ALL_POLLED = 0.25  # seconds after which a broker is asked again although not all that it gave is polled


class _Answer(NamedTuple):
    """What a broker says of one partition, to a fetch at `position`."""

    partition: Partition
    position: int
    error: type[KafkaError]
    end: int
    aborted: list[tuple[int, int]]
    data: bytes

    @classmethod
    def of(cls, topic: str, position: int, version: int, answer: tuple[Any, ...]) -> "_Answer":
        number, code, end, *rest = answer
        # Behind the end stand, by version: the last stable offset, the log's start, aborted transactions, a replica.
        aborted = rest[2] if version >= 11 else rest[-2] if version >= 4 else None  # noqa: PLR2004 - Kafka's numbers
        return cls(Partition(topic, number), position, for_code(code), end, aborted or [], rest[-1] or b"")


class Fetches:
    """Fetches for one of aiokafka's fetchers.

    `moved` has the gap of each partition that is read again, because its log was cut off or made anew, until whoever
    commits has taken note; that may be another thread. `all_polled` is for how many seconds what is not polled of one
    partition keeps a broker from being asked for the others.
    """

    def __init__(
        self, fetcher: Any, limits: Limits, moved: dict[Partition, Gap], all_polled: float = ALL_POLLED
    ) -> None:
        self._fetcher = fetcher
        self._all_polled = all_polled
        self._client = fetcher._client  # noqa: SLF001 - it has no door
        self._ready: dict[Partition, Any] = fetcher._records  # noqa: SLF001 - likewise
        self._limits = limits
        self._last: dict[int, float] = {}  # when each broker's last fetch ended
        self._assignment: Any = None
        self._gaps: dict[Partition, Gap] = {}  # to be told before what is read next
        self._said: dict[Partition, type[KafkaError]] = {}
        self._moved = moved
        self._marks: defaultdict[Partition, Marks] = defaultdict(Marks)
        self._ends: dict[Partition, int] = {}  # as they were last seen

    def take_the_place(self) -> None:
        """Fetch and poll from now on for the fetcher, which must not have begun."""
        self._fetcher._prefetch_backoff = self._all_polled  # noqa: SLF001 - it has no setting for this
        self._fetcher._proc_fetch_request = self.fetch  # noqa: SLF001 - likewise
        Polls(self._fetcher, self._limits).take_the_place()  # aiokafka's own knows nothing of what is kept here

    async def fetch(self, assignment: Any, broker: int, request: Any) -> bool:
        """Send one request and keep what comes for the next poll; return whether there is something."""
        try:
            # Over at once, if nothing was fetched for a while.
            await asyncio.sleep(self._last.get(broker, 0.0) + _PACE - time.monotonic())
            self._begin_with(assignment)
            self._hurry_beside_the_unpolled(broker, request)
            response = await self._client.send(broker, request)
            if not assignment.active:
                return False
            return await self._take(assignment, broker, request, response)
        except asyncio.CancelledError:  # the partitions are not ours any more, and whoever cancels awaits an answer
            return False
        except KafkaError as error:
            log.warning("fetch.failed", broker=broker, error=repr(error))
            await asyncio.sleep(self._fetcher._retry_backoff)  # noqa: SLF001 - likewise
            return False
        finally:
            self._last[broker] = time.monotonic()

    def _hurry_beside_the_unpolled(self, broker: int, request: Any) -> None:
        """Let the broker answer at once where something that it gave is still to be polled.

        Its partition is not in the request, and must not wait, once it is polled, until something comes for the others.
        """
        unpolled = [each for tp, each in self._ready.items() if self._client.cluster.leader_for_partition(tp) == broker]
        for each in unpolled:
            each._created = time.monotonic()  # noqa: SLF001 - from which `ALL_POLLED` is counted
        if unpolled:
            request._max_wait_ms = 0  # noqa: SLF001 - it has no setting for one request

    async def begin_again(self, assignment: Any, partition: Partition, position: int | None = None) -> int | None:
        """Read a partition from the beginning of its log, which was made anew; return where that is, if it can be told.

        The old one was read to `position`, or to where it stands.

        Raises:
            KafkaError: the broker does not say where it begins.
        """
        self._begin_with(assignment)
        if (known := self._moved.get(partition)) is not None:
            return known.following
        state = assignment.state_value(partition)
        broker = self._client.cluster.leader_for_partition(partition)
        if broker in {None, -1}:
            return None
        begin = await self._edge(broker, partition, OffsetResetStrategy.EARLIEST)
        first = state.position if state.has_valid_position else position
        if not assignment.active or first is None:
            return None
        end = max(first, self._ends.pop(partition, first))  # or later: of what is held nothing is asked for
        unread = f"at least {end - first}" if end > first else "nobody knows how many"
        why = f"the topic was made anew, and {unread} records of the old one had not been read"
        self._move(assignment, partition, Gap(first, end, begin, why, lost=True, anew=True))
        return begin

    async def stay_moved(self) -> dict[Partition, int]:
        """Go back to where `moved` partitions are read again, after a seek to what is committed; return the offsets."""
        moved = list(self._moved.items())
        for partition, gap in moved:
            self._move_to(self._assignment, partition, gap)
        return {partition: gap.following for partition, gap in moved}

    def _begin_with(self, assignment: Any) -> None:
        if assignment is not self._assignment:
            self._assignment = assignment
            self._said.clear()
            for each in self._marks.keys() - assignment.tps:
                del self._marks[each]
            for each in self._ends.keys() - assignment.tps:
                del self._ends[each]
            # A gap at the beginning is found again by whoever reads the partition now; one like this may not be.
            for each in set(self._moved) - assignment.tps:
                self._moved.pop(each, None)
            self._gaps.clear()
            self._gaps.update(self._moved)

    async def _take(self, assignment: Any, broker: int, request: Any, response: Any) -> bool:
        positions = {Partition(topic, number): offset for topic, asked in request.topics for number, offset, _ in asked}
        found = failed = False
        for topic, answers in response.topics:
            for each in answers:
                position = positions[Partition(topic, each[0])]
                answer = _Answer.of(topic, position, response.API_VERSION, each)
                state = assignment.state_value(answer.partition)
                if not state.has_valid_position or state.position != position:
                    continue  # it was moved meanwhile
                if not answer.error.errno:
                    state.highwater, state.timestamp = answer.end, int(time.time() * 1000)
                    self._ends[answer.partition] = answer.end
                    found |= self._keep(assignment, answer)
                elif answer.error is OffsetOutOfRangeError:
                    found |= await self._out_of_range(assignment, broker, answer)
                else:
                    failed = True
                    self._failed(answer)
        if failed and not found:  # a refusal comes at once, unlike an answer that holds nothing
            await asyncio.sleep(self._fetcher._retry_backoff)  # noqa: SLF001 - likewise
        return found

    def _keep(self, assignment: Any, answer: _Answer) -> bool:
        self._said.pop(answer.partition, None)
        gap = self._gaps.get(answer.partition)
        if gap is not None and gap.following != answer.position:  # somebody went back to what was committed
            assignment.state_value(answer.partition).seek(gap.following)
            return False
        records = Fetched(
            answer.partition,
            answer.data,
            answer.position,
            end=answer.end,
            aborted=answer.aborted,
            limits=self._limits,
            gaps=self._gaps,
            marks=self._marks[answer.partition],
        )
        if records.empty:
            return False
        self._ready[answer.partition] = Ready(
            answer.partition, assignment=assignment, partition_records=records, backoff=self._all_polled
        )
        return True

    async def _out_of_range(self, assignment: Any, broker: int, answer: _Answer) -> bool:
        """Go on where there is something, and keep a gap that tells what is not there any more."""
        partition, position = answer.partition, answer.position
        begin = await self._edge(broker, partition, OffsetResetStrategy.EARLIEST)
        end = await self._edge(broker, partition, OffsetResetStrategy.LATEST)
        state = assignment.state_value(partition)
        if not assignment.active or not state.has_valid_position or state.position != position:
            return False
        if position < begin:
            why = f"{begin - position} records were deleted before they were read, by retention or by hand"
            gap = Gap(position, begin, begin, why, lost=True)
        else:
            first = min(end, position)
            why = f"the log was cut off or made anew: it ends at {end}, and was read to {position}"
            gap = Gap(first, position, begin, why, lost=True, anew=True)
        self._move(assignment, partition, gap)
        return True

    def _move(self, assignment: Any, partition: Partition, gap: Gap) -> None:
        log.error(
            "log.cut-off" if gap.anew else "records.lost",
            partition=f"{partition.topic}/{partition.partition}",
            first=gap.first,
            until=gap.until,
            count=gap.until - gap.first,
            following=gap.following,
            why=gap.why,
        )
        if gap.anew:
            self._moved[partition] = gap
        self._move_to(assignment, partition, gap)

    def _move_to(self, assignment: Any, partition: Partition, gap: Gap) -> None:
        state = assignment.state_value(partition)
        state.seek(gap.following)
        state.highwater = None
        self._ready.pop(partition, None)
        self._gaps[partition] = gap
        # Empty, but for the gap.
        self._keep(assignment, _Answer(partition, gap.following, KafkaError, gap.following, [], b""))

    async def _edge(self, broker: int, partition: Partition, edge: int) -> int:
        asked = {partition.topic: [(partition.partition, edge)]}
        found = await self._fetcher._proc_offset_request(broker, asked)  # noqa: SLF001 - likewise
        return int(found[partition][0])

    def _failed(self, answer: _Answer) -> None:
        partition, error = answer.partition, answer.error
        if self._said.get(partition) is not error:  # once, and not with each fetch
            self._said[partition] = error
            name = f"{partition.topic}/{partition.partition}"
            log.warning("partition.unavailable", partition=name, position=answer.position, error=error.__name__)
        if error in {NotLeaderForPartitionError, UnknownTopicOrPartitionError}:
            self._client.force_metadata_update()
        elif error is TopicAuthorizationFailedError:
            self._fetcher._set_error(partition, error(partition.topic))  # noqa: SLF001 - likewise
