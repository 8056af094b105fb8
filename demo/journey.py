"""Sends an example and follows it: REST in, Kafka through, callback out."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, TypeVar

import httpx
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from pydantic import JsonValue

from demo.examples import Example
from demo.failure import StepError
from demo.installation import Installation
from demo.screen import Screen

T = TypeVar("T")

_DEADLINE = 20  # seconds for each stage; the demo's delay of a task is in it
_LOOK_AGAIN = 0.02  # seconds
_CHECK_AGAIN = 0.2  # seconds until the processes are looked at again


class Journeys:
    """One client, one reader of the topics, for one example after the other."""

    def __init__(
        self, installation: Installation, client: httpx.AsyncClient, consumer: AIOKafkaConsumer, screen: Screen
    ) -> None:
        self._installation = installation
        self._client = client
        self._consumer = consumer
        self._screen = screen

    async def make(self, example: Example) -> None:
        """Send `example` and show each stage.

        Raises:
            StepError: a stage was not reached, or the callback does not say what it must.
        """
        self._screen.title(example.title)
        self._screen.restart()
        accepted = await self._send(example)
        answered_at = time.time()
        task_id = accepted["task_id"]
        await self._show_record(f"{example.task}.requests", task_id, "gateway")
        self._screen.stage("200", "the broker has it", answered_at, accepted)
        await self._show_record("task.results", task_id, "tasks")
        body = await self._callback(task_id)
        expected = {"results": example.results, "errors": [], "task_id": task_id}
        if body != expected:
            why = f"it should say\n{json.dumps(expected)}\nand says\n{json.dumps(body)}"
            raise StepError("checking the callback", why, self._installation.log("tasks"))
        self._screen.good("as it should be")

    async def sample(self) -> tuple[str, JsonValue]:
        """Return the URL of the receiver's JSON, and that JSON."""
        url = f"{self._installation.receiver_url}/sample.json"
        answer = await self._within("asking the receiver for its sample", "receiver", self._client.get(url))
        return url, answer.json()

    async def _send(self, example: Example) -> dict[str, JsonValue]:
        url = f"{self._installation.gateway_url}{example.path}"
        request: JsonValue = {"callback_url": f"{self._installation.receiver_url}/test-me", "message": example.message}
        self._screen.stage("request", f"POST {url}", body=request)
        step = f"sending to {example.path}"
        answer = await self._within(step, "gateway", self._client.post(url, json=request))
        if answer.status_code != httpx.codes.OK:
            raise StepError(step, f"{answer.status_code} {answer.text}", self._installation.log("gateway"))
        accepted: dict[str, JsonValue] = answer.json()
        return accepted

    async def _show_record(self, topic: str, task_id: JsonValue, writer: str) -> None:
        record = await self._within(f"waiting for the record in {topic}", writer, self._record(topic, task_id))
        place = f"partition {record.partition} @ offset {record.offset}, by {writer}"
        self._screen.stage(topic, place, record.timestamp / 1_000, json.loads(record.value))

    async def _record(self, topic: str, task_id: JsonValue) -> ConsumerRecord:
        async for record in self._consumer:
            if record.topic == topic and dict(record.headers)["ce_id"].decode() == task_id:
                return record
        raise AssertionError("the consumer was stopped")

    async def _callback(self, task_id: JsonValue) -> JsonValue:
        call = await self._within("waiting for the callback", "callbacks", self._received(task_id))
        at = datetime.fromisoformat(call["received_at"]).timestamp()
        body: JsonValue = call["body"]
        self._screen.stage("callback", f"POST /test-me, as the receiver got it: {call['signature']}", at, body)
        if call["signature"] != "signature verified":
            raise StepError("checking the signature", call["signature"], self._installation.log("callbacks"))
        return body

    async def _received(self, task_id: JsonValue) -> dict[str, Any]:
        url = f"{self._installation.receiver_url}/received/{task_id}"
        while True:
            answer = await self._client.get(url)
            if answer.status_code == httpx.codes.OK:
                first: dict[str, Any] = answer.json()[0]
                return first
            await asyncio.sleep(_LOOK_AGAIN)

    async def _within(self, step: str, process: str, work: Awaitable[T]) -> T:
        """Await `work`; where that fails, `process` is to blame, or whichever has ended."""
        task = asyncio.ensure_future(work)
        try:
            async with asyncio.timeout(_DEADLINE):
                while not (await asyncio.wait({task}, timeout=_CHECK_AGAIN))[0]:
                    self._installation.check(step)
            return task.result()
        except TimeoutError:
            raise StepError(step, f"not within {_DEADLINE} s", self._installation.log(process)) from None
        except httpx.HTTPError as error:
            self._installation.check(step)
            raise StepError(step, repr(error), self._installation.log(process)) from error
        finally:
            task.cancel()


@asynccontextmanager
async def journeys(installation: Installation, screen: Screen) -> AsyncIterator[Journeys]:
    topics = ("calculation.requests", "data.requests", "task.results")
    async with (
        httpx.AsyncClient(trust_env=False, timeout=_DEADLINE) as client,
        AIOKafkaConsumer(
            *topics, bootstrap_servers=installation.bootstrap, auto_offset_reset="earliest", fetch_max_wait_ms=100
        ) as consumer,
    ):
        yield Journeys(installation, client, consumer, screen)
