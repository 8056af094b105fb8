"""What the agents write: records that get through a passing trouble of the broker, and dead letters."""

from datetime import timedelta
from typing import Protocol

import stamina

from callstream.contract.dead_letters import Reason, dead_letter
from callstream.contract.records import OutgoingRecord, Record
from callstream.contract.sizes import LETTER_HEADERS, cut, size_of
from callstream.runtime.logs import get_logger

log = get_logger()
_ATTEMPTS = 5
_PAUSES = timedelta(seconds=30)  # more than those between the attempts together
_SMALL = 2 * LETTER_HEADERS  # bytes of a dead letter that every topic takes
_WRITES = 3  # the most that follow one another for a record: its result, a shorter one, a dead letter


def patience(request_timeout: timedelta) -> timedelta:
    """Return how long the writing for one record may take, when each request takes as long as it may."""
    return _WRITES * ((1 + _ATTEMPTS) * request_timeout + _PAUSES)


class ProduceError(Exception):
    """The broker did not take a record."""


class RecordTooLargeError(Exception):
    """A record is larger than its topic allows; trying again cannot help."""


class Producer(Protocol):
    async def produce(self, record: OutgoingRecord) -> None:
        """Return when the broker has acknowledged `record`; raise ProduceError or RecordTooLargeError otherwise."""


class Output:
    """Writes records durably.

    When the broker does not come back within several attempts, ProduceError reaches the workload, which ends the
    process with its records unfinished: they are read again. A dead letter has `letter_limit` bytes at most, which its
    topic takes.
    """

    def __init__(self, producer: Producer, letter_limit: int) -> None:
        self._producer = producer
        self._letter_limit = letter_limit

    async def write(self, record: OutgoingRecord) -> None:
        try:
            await self._producer.produce(record)
        except ProduceError as error:
            log.warning("record.refused", topic=record.topic, error=str(error))
            await self._write_again(record)

    async def dead_letter(self, record: Record, topic: str, reason: Reason, error: str) -> None:
        """Put `record` aside with the reason, and without what would be too large."""
        name, partition = record.partition
        log.warning(
            "record.dead-lettered",
            reason=reason,
            error=cut(error),
            origin=f"{name}/{partition}@{record.offset}",
            topic=topic,
        )
        letter = dead_letter(record, topic, reason, error, self._letter_limit)
        try:
            await self.write(letter)
        except RecordTooLargeError:  # the topic takes less than `callstream topics` has it take
            await self.write(dead_letter(record, topic, reason, error, min(size_of(letter) - 1, _SMALL)))

    async def _write_again(self, record: OutgoingRecord) -> None:
        # Not as a decorator, which logs the arguments at each retry: the whole record, with what is secret in it.
        async for attempt in stamina.retry_context(on=ProduceError, attempts=_ATTEMPTS, timeout=None):
            with attempt:
                await self._producer.produce(record)
