"""The callback agent: a result is delivered to its receiver, or becomes a dead letter; it never raises."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Protocol

from callstream.contract.dead_letters import Reason
from callstream.contract.messages import CallbackBody, TaskResult
from callstream.contract.records import Record
from callstream.runtime.logs import get_logger
from callstream.runtime.settings import Settings
from stream_app.outcome import Delivered, Outcome, Refused, describe
from stream_app.output import Output
from stream_app.policy import next_delay
from stream_app.reading import UnreadableError, read

log = get_logger()


class Delivery(Protocol):
    async def attempt(self, url: str, body: bytes, headers: Mapping[str, str]) -> Outcome: ...


class CallbackAgent:
    """Delivers results."""

    def __init__(self, settings: Settings, delivery: Delivery, output: Output) -> None:
        self._topics = settings.topic_names
        self._limit = 2 * settings.topics.max_message_bytes
        self._schedule: Sequence[timedelta] = settings.callbacks.schedule
        self._delivery = delivery
        self._output = output

    @property
    def sources(self) -> list[str]:
        """The topics to read."""
        return [self._topics.results]

    async def process(self, record: Record) -> None:
        """Return when the callback was delivered, or its dead letter is durable."""
        try:
            result = read(record, TaskResult, self._limit)
        except UnreadableError as error:
            await self._output.dead_letter(record, self._topics.task_dead_letters, error.reason, str(error))
            return
        outcome = await self._deliver(result)
        if not isinstance(outcome, Delivered):
            reason = Reason.REFUSED if isinstance(outcome, Refused) else Reason.EXHAUSTED
            await self._output.dead_letter(record, self._topics.callback_dead_letters, reason, describe(outcome))

    async def _deliver(self, result: TaskResult) -> Outcome:
        """Try until the policy says that there is no other attempt; return the last outcome."""
        body = CallbackBody.model_construct(results=result.results, errors=result.errors, task_id=result.task_id)
        content = body.model_dump_json().encode()
        headers = {"content-type": "application/json", "webhook-id": result.task_id}
        attempt = 0
        while True:
            attempt += 1
            began = time.monotonic()
            outcome = await self._delivery.attempt(result.callback_url, content, headers)
            delay = next_delay(outcome, attempt, self._schedule)
            log.info(
                "callback.attempted",
                task_id=result.task_id,
                attempt=attempt,
                outcome=type(outcome).__name__.lower(),
                detail=describe(outcome),
                ms=round((time.monotonic() - began) * 1000),
            )
            if delay is None:
                return outcome
            await asyncio.sleep(delay.total_seconds())
