"""How what was fetched is handed over: of every partition its part, and no more than can be held.

aiokafka's own `fetched_records` gives all of a poll to one partition, until there is nothing more in it: a backlog in
one would keep all others waiting.
"""

import asyncio
import sys
import time
from collections.abc import Collection
from typing import Any

from aiokafka.structs import ConsumerRecord
from aiokafka.structs import TopicPartition as Partition

from stream_app.kafka_fetched import Limits
from stream_app.kafka_ready import Ready, Turns

MOST = 8 * 2**20  # bytes of a poll, as they are in memory; the last record may go beyond

Polled = dict[Partition, list[ConsumerRecord]]


class Polls:
    """Polls for one of aiokafka's fetchers."""

    def __init__(self, fetcher: Any, limits: Limits) -> None:
        self._fetcher = fetcher
        self._subscriptions = fetcher._subscriptions  # noqa: SLF001 - it has no door
        self._ready: dict[Partition, Any] = fetcher._records  # noqa: SLF001 - likewise
        self._turns = Turns(self._ready, limits.inflated)

    def take_the_place(self) -> None:
        """Poll from now on for the fetcher."""
        self._fetcher.fetched_records = self.poll

    async def poll(
        self,
        partitions: Collection[Partition],
        timeout: float = 0,  # noqa: ASYNC109 - aiokafka's own signature
        max_records: int | None = None,
    ) -> Polled:
        """Return what is ready of these partitions; if nothing is, wait for it.

        Raises:
            KafkaError: a partition may not be read.
        """
        deadline = time.monotonic() + (timeout or 0)
        while True:
            if self._subscriptions.reassignment_in_progress:
                await self._subscriptions.wait_for_assignment()
            polled = self._take(partitions, max_records or sys.maxsize)
            left = deadline - time.monotonic()
            if polled or left <= 0:
                return polled
            waiter = self._fetcher._create_fetch_waiter()  # noqa: SLF001 - likewise
            done, _ = await asyncio.wait([waiter], timeout=left)
            if not done or self._fetcher._closed:  # noqa: SLF001 - likewise
                waiter.cancel()
                return {}
            waiter.result()  # raises what went wrong in the group

    def _take(self, partitions: Collection[Partition], most: int) -> Polled:
        """Take a slice of each partition in turn; whoever had one stands behind the others in the next poll."""
        polled: Polled = {}
        room = MOST
        turn = [partition for partition in tuple(self._ready) if self._wanted(partition, partitions)]
        while turn:
            # Whoever waits for a turn of its batch has no slice, unless it comes, and no share.
            able = max(1, sum(not getattr(self._ready[partition], "waiting", 0) for partition in turn))
            share, part, before, going_on = max(1, most // able), max(1, room // able), (len(turn), most), []
            for partition in turn:
                if most <= 0 or room <= 0:
                    return polled
                if not isinstance(self._ready[partition], Ready):
                    if polled:
                        return polled  # the next poll raises it
                    self._ended(partition).check_raise()
                    continue
                if self._turns.waits(partition, turn):
                    going_on.append(partition)
                    continue
                records, size = self._slice(partition, min(share, most), min(part, room))
                most, room = most - len(records), room - size
                if records:
                    polled.setdefault(partition, []).extend(records)
                if partition in self._ready:
                    going_on.append(partition)
            if (len(going_on), most) == before:
                break
            turn = going_on
        return polled

    def _slice(self, partition: Partition, most: int, room: int) -> tuple[list[ConsumerRecord], int]:
        records, size = self._turns.slice(partition, most, room)
        if self._ready[partition].has_more():
            self._ready[partition] = self._ready.pop(partition)  # behind all others
        else:
            self._ended(partition)
        return records, size

    def _wanted(self, partition: Partition, partitions: Collection[Partition]) -> bool:
        if not partitions or partition in partitions:
            return True
        if not self._subscriptions.is_assigned(partition):
            del self._ready[partition]
        return False

    def _ended(self, partition: Partition) -> Any:
        """Let the fetcher fetch the partition again."""
        self._fetcher._notify(self._fetcher._wait_consume_future)  # noqa: SLF001 - likewise
        return self._ready.pop(partition)
