"""Over Kafka: records such as the gateway writes, by an idempotent producer that waits for all replicas."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from pydantic import ValidationError

from callstream.client.errors import Detail, InvalidError, OutcomeUnknownError, RefusedError
from callstream.client.submission import Submission
from callstream.contract.headers import event_headers
from callstream.contract.ids import keyed_task_id, new_task_id
from callstream.contract.records import Headers
from callstream.contract.retries import DEADLINE_HEADER
from callstream.contract.topics import Topics
from callstream.runtime.producers import Producer
from callstream.tasks import load_tasks

_DEADLINE = 30.0  # seconds for a start and for each acknowledgement


class KafkaDoor:
    """Produces to `<task>.requests`; a task type that is installed here has its message validated before."""

    def __init__(self, bootstrap: str, prefix: str, options: Mapping[str, Any]) -> None:
        self._bootstrap = bootstrap
        self._topics = Topics(prefix)
        self._tasks = load_tasks()
        self._options = {"client_id": "callstream-client", "acks": "all", "enable_idempotence": True, **options}
        self._producer: Producer | None = None
        self._renewal: asyncio.Task[Producer] | None = None

    async def open(self) -> None:
        self._producer = await self._started()

    async def close(self) -> None:
        if self._renewal is not None:
            await asyncio.wait([self._renewal])
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.end(_DEADLINE)

    async def submit(self, submission: Submission) -> str:
        self._validate(submission)
        task_id = self._task_id(submission)
        sent = await self._send(await self._living(), submission, task_id)
        sent.add_done_callback(_seen)
        try:
            async with asyncio.timeout(_DEADLINE):
                await asyncio.shield(sent)
        except MessageSizeTooLargeError as error:  # the broker's word, where its limit is lower than the producer's
            raise _too_large(error) from error
        except (KafkaError, TimeoutError) as error:
            raise OutcomeUnknownError(f"the broker did not acknowledge: {error!r}", task_id) from error
        return task_id

    async def _started(self) -> Producer:
        producer = Producer(bootstrap_servers=self._bootstrap, **self._options)
        try:
            async with asyncio.timeout(_DEADLINE):
                await producer.start()
        except (KafkaError, OSError) as error:  # an OSError is also what ends the wait
            await producer.stop()
            raise RefusedError(f"no broker at {self._bootstrap}: {error!r}") from error
        return producer

    async def _living(self) -> Producer:
        """Return the producer, a new one if it has died: all who find it dead at once wait for the same."""
        if self._renewal is None:
            if self._producer is None:
                raise RuntimeError("use the client in an `async with` block")
            if not self._producer.died:
                return self._producer
            self._renewal = asyncio.create_task(self._renewed(self._producer))
            self._renewal.add_done_callback(_seen)
        return await asyncio.shield(self._renewal)

    async def _renewed(self, dead: Producer) -> Producer:
        try:
            await dead.end(_DEADLINE)
            self._producer = await self._started()
        finally:
            self._renewal = None  # if it failed, the next who comes tries again
        return self._producer

    def _validate(self, submission: Submission) -> None:
        if (task := self._tasks.get(submission.task)) is None:
            return
        try:
            task.request.model_validate_json(submission.body)
        except ValidationError as error:
            found = json.loads(error.json(include_url=False, include_context=False))
            raise InvalidError(Detail(**detail | {"loc": ("body", *detail["loc"])}) for detail in found) from error

    def _task_id(self, submission: Submission) -> str:
        """Return a new id, or the key's: that of the gateway, where the task type's path is known."""
        if submission.idempotency_key is None:
            return new_task_id()
        task = self._tasks.get(submission.task)
        return keyed_task_id(submission.task if task is None else task.path, submission.idempotency_key)

    async def _send(self, producer: Producer, submission: Submission, task_id: str) -> asyncio.Future[object]:
        """Return what is done when the record is acknowledged; until then it is in the producer's buffer."""
        topic = self._topics.requests(submission.task)
        try:
            async with asyncio.timeout(_DEADLINE):
                sent: asyncio.Future[object] = await producer.send(
                    topic, submission.body, task_id.encode(), headers=list(_headers(submission, task_id))
                )
        except MessageSizeTooLargeError as error:
            raise _too_large(error) from error
        except (KafkaError, TimeoutError) as error:
            raise RefusedError(f"nothing was sent to {topic}: {error!r}") from error
        return sent


def _too_large(error: MessageSizeTooLargeError) -> InvalidError:
    return InvalidError([Detail(type="too_large", loc=("body",), msg=str(error))])


def _seen(done: asyncio.Future[Any]) -> None:
    """Look at an error that comes when nobody waits any more, which asyncio would complain of."""
    if not done.cancelled():
        done.exception()


def _headers(submission: Submission, task_id: str) -> Headers:
    deadline = submission.callback_deadline
    passed_on: Headers = () if deadline is None else ((DEADLINE_HEADER, deadline.isoformat().encode()),)
    return event_headers(task_id, f"{submission.task}.requested", "client", passed_on)
