"""How offsets are committed: within a time, whatever becomes of one topic (docs/decisions/0038-commits-are-bounded.md).

aiokafka's own commit is tried again for ever where the broker does not know one of its partitions, whose topic was
deleted: the offsets of all others are stored, but whoever waits for the commit waits for ever.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from aiokafka.errors import CommitFailedError, UnknownTopicOrPartitionError
from aiokafka.protocol.commit import OffsetCommitRequest
from aiokafka.structs import OffsetAndMetadata
from aiokafka.structs import TopicPartition as Partition

from callstream.runtime.logs import get_logger

_WITHIN = 5.0  # seconds for one commit; the next one, a second later, has all that this one had
_ANSWER = 3.0  # seconds in which a broker that is there tells its metadata, behind a fetch that it holds back
_LONGEST = 60.0  # seconds without any commit, although brokers answer, after which only a restart may help

log = get_logger()


class CommitsStuckError(Exception):
    """Brokers answer, and nothing can be committed all the same."""


class Commits:
    """Commits through one of aiokafka's consumers, which has been started.

    `unknown` are the partitions of the last commit that the broker did not know; kafka_presence.py tells of them.
    """

    def __init__(self, consumer: Any, clock: Callable[[], float] = time.monotonic, within: float = _WITHIN) -> None:
        self._consumer = consumer
        self._clock = clock
        self._within = within
        self._since: float | None = None  # when the first of the commits began that came to nothing, one after another
        self.unknown: frozenset[Partition] = frozenset()
        coordinator = consumer._coordinator  # noqa: SLF001 - it has no door
        self._ask = coordinator._send_req  # noqa: SLF001 - likewise
        coordinator._send_req = self._send  # noqa: SLF001 - likewise

    async def commit(self, offsets: Mapping[Partition, OffsetAndMetadata]) -> bool:
        """Commit offsets, but for those of `unknown`; return whether the broker said so in time.

        Raises:
            CommitFailedError: the group has rebalanced.
            KafkaError: the broker refuses, and will again.
            CommitsStuckError: nothing could be committed for so long that the process had better begin anew.
        """
        self._since = self._since or self._clock()
        try:
            async with asyncio.timeout(self._within):
                await self._consumer.commit(offsets)
        except TimeoutError:
            await self._look_for_brokers()
            return False
        except CommitFailedError:
            self._since = None
            raise
        self._since = None
        return True

    async def _send(self, request: Any) -> Any:
        """Send for aiokafka, and let it see nothing of what is unknown in the answer to a commit."""
        response = await self._ask(request)
        if isinstance(request, OffsetCommitRequest):
            response.topics = self._without_unknown(response.topics)
            if not any(code for _, partitions in response.topics for _, code in partitions):
                self._since = None  # also where nobody waits for it any more
        return response

    def _without_unknown(self, topics: Any) -> list[tuple[str, list[tuple[int, int]]]]:
        gone = UnknownTopicOrPartitionError.errno
        self.unknown = frozenset(
            Partition(topic, each) for topic, codes in topics for each, code in codes if code == gone
        )
        return [(topic, [(each, code) for each, code in codes if code != gone]) for topic, codes in topics]

    async def _look_for_brokers(self) -> None:
        """Count nothing against the process while no broker answers; it waits for them.

        Raises:
            CommitsStuckError: they answer, and have for long.
        """
        try:
            async with asyncio.timeout(_ANSWER):
                there = await self._consumer._client.force_metadata_update()  # noqa: SLF001 - likewise
        except TimeoutError:
            there = False
        if self._since is None or not there:
            self._since = None
            return
        seconds = self._clock() - self._since
        log.warning("commit.late", seconds=round(seconds), within=self._within)
        if seconds > _LONGEST:
            raise CommitsStuckError(f"brokers answer, and nothing could be committed for {seconds:.0f} s")
