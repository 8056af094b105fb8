"""The callback agent: a result is delivered, waits for its next attempt, or is a dead letter; it never raises."""

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol

from callstream.contract.dead_letters import Reason
from callstream.contract.headers import HeaderError, event_headers
from callstream.contract.messages import CallbackAttempt, result_digest
from callstream.contract.receivers import receiver_of
from callstream.contract.records import OutgoingRecord, Record
from callstream.contract.retries import Progress, deadline_of, parked
from callstream.contract.sizes import cut, memory_of
from callstream.runtime.logs import get_logger
from callstream.runtime.settings import Settings
from stream_app.outcome import Delivered, Forbidden, Outcome, Refused, describe, name, status_of
from stream_app.output import Output, ProduceError, RecordTooLargeError
from stream_app.policy import Policy, is_final
from stream_app.reading import UnreadableError
from stream_app.receivers import Busy, Receivers
from stream_app.results import Result, read_result
from stream_app.tiers import Ends, Tiers

log = get_logger()


class Delivery(Protocol):
    async def attempt(self, url: str, body: bytes, headers: Mapping[str, str]) -> Outcome: ...


class Signer(Protocol):
    def headers(self, task_id: str, url: str, at: datetime, body: bytes) -> dict[str, str]: ...


class _Job(NamedTuple):
    """A result that was read, with what its headers say."""

    record: Record
    result: Result
    url: str
    receiver: str
    progress: Progress
    deadline: datetime


class CallbackAgent:
    """Delivers results; `ends` is as for `Tiers`, `clock` gives the time with UTC, `chance` numbers from 0 to 1."""

    def __init__(  # noqa: PLR0913 - what it stands on
        self,
        settings: Settings,
        delivery: Delivery,
        signer: Signer,
        receivers: Receivers,
        output: Output,
        *,
        ends: Ends = lambda _: None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        chance: Callable[[], float] = random.random,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._topics = settings.topic_names
        self._sizes = settings.sizes
        self._policy = Policy(settings.callbacks.schedule, settings.callbacks.retry_after_cap)
        self._expiry = settings.callbacks.expiry
        self._tiers = Tiers(self._topics, self._policy, ends, clock, monotonic)
        self._monotonic = monotonic
        self._delivery = delivery
        self._signer = signer
        self._receivers = receivers
        self._output = output
        self._clock = clock
        self._chance = chance

    @property
    def sources(self) -> list[str]:
        """The topics to read."""
        return [self._topics.results, *self._tiers.topics]

    def wake(self, record: Record) -> float:
        """Return when the record is to be processed, in seconds since the epoch: one in a tier has to wait."""
        return self._tiers.wake(record)

    async def process(self, record: Record) -> None:
        """Return when the callback was delivered, its next step is durable, or none was asked for.

        Raises:
            ProduceError: the next step cannot be written.
        """
        try:
            await self._process(record)
        except ProduceError:
            raise
        except Exception as error:
            log.exception("callback.failed", topic=record.partition.topic, offset=record.offset)
            await self.refuse(record, Reason.INTERNAL_ERROR, f"an error of ours: {type(error).__name__}")

    async def refuse(self, record: Record, reason: Reason, error: str) -> None:
        """Put the record aside for a fault that is not its receiver's."""
        await self._output.dead_letter(record, self._topics.task_dead_letters, reason, error)

    async def _process(self, record: Record) -> None:
        now = self._clock()
        refusal: tuple[Reason, str] | None = None
        try:
            progress = self._tiers.progress(record, now)
            expiry = progress.first_seen + self._expiry
            deadline = min(deadline_of(record.headers) or expiry, expiry)
            result = read_result(record, self._limit_of(record))
        except (HeaderError, UnreadableError) as error:
            refusal = (error.reason if isinstance(error, UnreadableError) else Reason.UNREADABLE, str(error))
        if refusal:  # behind the block, where the error and all that it holds on to are gone
            await self.refuse(record, *refusal)
            return
        if result.callback_url is None:
            return  # who asked reads it in `task.results`
        # Whoever wrote the headers, no result goes round for longer than it could by our own hand.
        latest = min(deadline, now + self._policy.longest_looked()) if progress.waits else deadline
        progress = progress._replace(due=min(progress.due, latest))
        url = result.callback_url
        job = _Job(record, result, url, receiver_of(url), progress, deadline)
        if now > deadline:
            last = f"; before: {progress.last_error}" if progress.last_error else ""
            await self._bury(job, Reason.EXPIRED, f"the deadline {deadline.isoformat()} has passed{last}")
        elif progress.due > now and not self._may_ask_early(job):
            # It came out to look for its receiver, or with the others of its tier, or its tier is none any more.
            await self._park(job, progress, now, looks=progress.waits > 0)
        else:
            await self._ask(job)

    def _may_ask_early(self, job: _Job) -> bool:
        """Return whether the result was to wait for its receiver, and that may be asked."""
        return job.progress.waits > 0 and self._receivers.worth_asking(job.receiver)

    async def _ask(self, job: _Job) -> None:
        result = job.result
        began = self._clock()
        tried = self._monotonic()

        async def attempt() -> Outcome:
            nonlocal began, tried
            began, tried = self._clock(), self._monotonic()  # after what it waited for its turn
            headers = self._signer.headers(result.task_id, job.url, began, result.body)
            return await self._delivery.attempt(job.url, result.body, {"content-type": "application/json", **headers})

        progress = job.progress
        fresh = self._policy.is_fresh(progress.attempts, began - progress.first_seen)
        early = progress.due > began
        again = progress.waits > 0
        size = memory_of(job.record)  # as the workload counts it
        outcome = await self._receivers.ask(job.receiver, attempt, size=size, fresh=fresh, again=again)
        if early and (isinstance(outcome, Busy) or not is_final(outcome)):
            await self._look_again(job, outcome)
        elif isinstance(outcome, Busy):
            await self._wait(job, outcome)
        else:
            await self._settle(job, outcome, began, timedelta(seconds=self._monotonic() - tried))

    async def _look_again(self, job: _Job, found: Outcome | Busy) -> None:
        """Let the result, which asked before its time, wait for that without charging it an attempt."""
        if not isinstance(found, Busy):
            log.warning("receiver.probed", task_id=job.result.task_id, receiver=job.receiver, outcome=describe(found))
        away = self._receivers.is_away(job.receiver)  # or else it takes others, and this one in its time, if at all
        waits = job.progress.waits if away or isinstance(found, Busy) else 0
        await self._park(job, job.progress._replace(waits=waits), self._clock(), looks=waits > 0)

    async def _wait(self, job: _Job, busy: Busy) -> None:
        """Let the result wait without charging it an attempt."""
        progress, now = job.progress, self._clock()
        pause = self._policy.next_pause(
            progress.waits, away=busy.away, rest=busy.rest, crowded=busy.crowded, jitter=self._chance()
        )
        due = now + pause
        error = progress.last_error or busy.why
        log.debug("callback.waits", task_id=job.result.task_id, why=busy.why, due=due.isoformat())
        await self._park(job, progress._replace(waits=progress.waits + 1, due=due, last_error=error), now)

    async def _settle(self, job: _Job, outcome: Outcome, began: datetime, took: timedelta) -> None:
        number = job.progress.attempts + 1
        delay = self._policy.next_delay(outcome, number, self._chance())
        now = self._clock()
        due = None if delay is None else now + delay
        if due is not None and due > job.deadline:
            due = None
        attempt = CallbackAttempt.model_construct(
            task_id=job.result.task_id,
            number=number,
            receiver=job.receiver,
            outcome=name(outcome),
            status=status_of(outcome),
            detail="" if isinstance(outcome, Delivered) else cut(_told_outside(outcome)),
            started=began,
            duration_ms=round(took.total_seconds() * 1000),
            next_due=due,
            result_digest=result_digest(job.record.value or b""),
        )
        say = log.info if isinstance(outcome, Delivered) else log.warning
        say(
            "callback.attempted",
            task_id=attempt.task_id,
            attempt=number,
            receiver=job.receiver,
            outcome=attempt.outcome,
            status=attempt.status,
            ms=attempt.duration_ms,
            detail=attempt.detail,
            next_due=due and due.isoformat(),
        )
        told = self._tell(attempt)
        if isinstance(outcome, Delivered):
            await told
        elif due is not None and delay is not None:
            looks = self._policy.looks_early(outcome, delay) and self._receivers.is_away(job.receiver)
            waits = Progress(number, int(looks), job.progress.first_seen, due, describe(outcome))
            await asyncio.gather(told, self._park(job, waits, now, looks=looks))
        else:
            reason, error = _reason(outcome, expired=delay is not None), _told_outside(outcome)
            await asyncio.gather(told, self._bury(job, reason, error))

    async def _park(self, job: _Job, progress: Progress, now: datetime, *, looks: bool = False) -> None:
        """Let the result wait until it is due, or until it `looks` whether its receiver is back.

        `now` is when that was decided: by a later clock its own tier would be too long for it.
        """
        remaining = progress.due - now
        if looks and self._receivers.may_look(job.receiver, job.result.size):
            tier = self._policy.look_tier(remaining, self._receivers.rest(job.receiver))
        else:
            tier = self._policy.wait_tier(remaining) if progress.waits else self._policy.tier_for(remaining)
        try:
            await self._output.write(parked(job.record, self._topics.retry(tier), progress._replace(parked=now)))
        except RecordTooLargeError as error:  # the tier takes less than `callstream topics` has it take
            await self.refuse(job.record, Reason.TOO_LARGE, f"it cannot wait in {self._topics.retry(tier)}: {error}")

    async def _bury(self, job: _Job, reason: Reason, error: str) -> None:
        await self._output.dead_letter(job.record, self._topics.callback_dead_letters, reason, error)

    async def _tell(self, attempt: CallbackAttempt) -> None:
        try:
            await self._output.write(self._attempt_record(attempt))
        except RecordTooLargeError:  # as above; no callback shall depend on what is told of it
            log.exception("attempt.not-recorded", task_id=attempt.task_id)

    def _limit_of(self, record: Record) -> int:
        return self._sizes.result if record.partition.topic == self._topics.results else self._sizes.tier

    def _attempt_record(self, attempt: CallbackAttempt) -> OutgoingRecord:
        headers = event_headers(attempt.task_id, "callback.attempted", "callbacks")
        value = attempt.model_dump_json().encode()
        return OutgoingRecord(self._topics.attempts, attempt.task_id.encode(), value, headers)


def _reason(outcome: Outcome, *, expired: bool) -> Reason:
    match outcome:
        case Refused():
            return Reason.REFUSED
        case Forbidden():
            return Reason.FORBIDDEN
        case _:
            return Reason.EXPIRED if expired else Reason.EXHAUSTED


def _told_outside(outcome: Outcome) -> str:
    """Return what the dead letter says: an address inside is for our log alone."""
    return (
        "the callback_url leads to an address that must not be reached"
        if isinstance(outcome, Forbidden)
        else describe(outcome)
    )
