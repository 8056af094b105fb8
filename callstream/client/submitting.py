"""One call for both doors."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import httpx
import pydantic_core

from callstream.client.errors import Detail, InvalidError
from callstream.client.kafka import KafkaDoor
from callstream.client.rest import RestDoor
from callstream.client.submission import Door, Submission
from callstream.contract.messages import Item

_KEY_FORM = re.compile(r"[!-~]{1,255}")  # as the gateway takes it


class Callstream:
    """Submits tasks; an asynchronous context manager."""

    def __init__(self, door: Door) -> None:
        self._door = door

    @classmethod
    def over_rest(
        cls, url: str, *, paths: Mapping[str, str] | None = None, http: httpx.AsyncClient | None = None
    ) -> Self:
        """Submit to the gateway at `url`.

        `paths` are those of task types that are not installed here. `http` may bring credentials, certificates and
        time limits, and stays open.

        Raises:
            ValueError: `url` is none.
        """
        return cls(RestDoor(url, paths or {}, http))

    @classmethod
    def over_kafka(cls, bootstrap: str, *, prefix: str = "", **options: Any) -> Self:  # noqa: ANN401 - aiokafka's own
        """Submit to the brokers at `bootstrap`, to topics with this `prefix`; `options` are AIOKafkaProducer's."""
        return cls(KafkaDoor(bootstrap, prefix, options))

    async def submit(
        self,
        task: str,
        *,
        message: Sequence[Item | Mapping[str, Any]],
        callback_url: str | None = None,
        idempotency_key: str | None = None,
        callback_deadline: datetime | None = None,
    ) -> str:
        """Return the task_id when the broker holds the task.

        Over Kafka `callback_url` may be left out; the result is then only a record in `task.results`.

        Raises:
            InvalidError: the request has to be mended.
            RefusedError: nothing was stored; later it may be.
            OutcomeUnknownError: it may have been stored.
            ValueError: `callback_deadline` has no time zone, or no calendar has it in UTC.
        """
        if callback_deadline is not None:
            if callback_deadline.tzinfo is None:
                raise ValueError("callback_deadline must have a time zone")
            try:
                callback_deadline.astimezone(UTC)
            except OverflowError as error:
                raise ValueError("callback_deadline is out of range") from error
        if idempotency_key is not None and not _KEY_FORM.fullmatch(idempotency_key):
            text = "must be 1 to 255 visible ASCII characters"
            raise InvalidError([Detail(type="value_error", loc=("header", "idempotency-key"), msg=text)])
        request: dict[str, object] = {} if callback_url is None else {"callback_url": callback_url}
        try:
            body = pydantic_core.to_json({**request, "message": message})
        except pydantic_core.PydanticSerializationError as error:
            raise InvalidError([Detail(type="value_error", loc=("body",), msg=str(error))]) from error
        return await self._door.submit(Submission(task, body, idempotency_key, callback_deadline))

    async def __aenter__(self) -> Self:
        await self._door.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._door.close()
