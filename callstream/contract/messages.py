"""One frozen model a message; OpenAPI and every schema that Callstream publishes come from these."""

import re
from datetime import datetime
from hashlib import blake2b
from typing import Annotated, Generic, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    FailFast,
    Field,
    HttpUrl,
    JsonValue,
    ModelWrapValidatorHandler,
    TypeAdapter,
    ValidationInfo,
    model_validator,
)

from callstream.contract.hosts import dialled_host
from callstream.contract.raw_json import encode_json, to_json
from callstream.contract.urls import check_quoted

CALLBACK_URL_LIMIT = 2_048  # characters
NAME_LIMIT = 1_024  # characters

_NOT_IN_URL = re.compile(r"[\s\x00-\x1f\x7f-\x9f\\]")

_http_url = TypeAdapter(HttpUrl)


def _representable(value: JsonValue, info: ValidationInfo) -> JsonValue:
    """Return `value` if it reads back from a record: pydantic lets pass what has no JSON, and writes null for it."""
    if info.mode == "json":
        encode_json(value)  # it was just read, as deeply nested and without lone surrogates
    else:
        to_json(value)
    return value


Json = Annotated[JsonValue, AfterValidator(_representable)]

# One item's value or error text under the item's name. A list of these keeps two items of the same name apart.
Entry = dict[str, Json]


def _absolute_http_url(url: str) -> str:
    """Return `url` as it came if a callback can be sent there; what was asked for is what is dialled."""
    if _NOT_IN_URL.search(url):
        raise ValueError("must not contain spaces, control characters or backslashes")
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"}:
        raise ValueError("must be an absolute http or https URL")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not contain credentials")
    if not parts.hostname:
        raise ValueError("must name a host")
    if parts.port == 0:  # urlsplit itself refuses a port above 65535
        raise ValueError("must not use port 0")
    _http_url.validate_python(url)
    dialled_host(parts.hostname)
    return check_quoted(url)


CallbackUrl = Annotated[
    str,
    Field(max_length=CALLBACK_URL_LIMIT, json_schema_extra={"format": "uri"}),
    AfterValidator(_absolute_http_url),
]


class Message(BaseModel):
    model_config = ConfigDict(frozen=True)


class Item(Message):
    """One piece of work in a request; a task type adds its own fields."""

    name: str = Field(max_length=NAME_LIMIT)


ItemT = TypeVar("ItemT", bound=Item)


class TaskRequest(Message, Generic[ItemT]):
    """The value of a record in `<task>.requests`; without a `callback_url` the result is a record and no more."""

    callback_url: CallbackUrl | None = None
    # Fails at the first wrong item: a body can hold hundreds of thousands, and to report on each would take seconds.
    message: Annotated[list[ItemT], FailFast()]

    @model_validator(mode="wrap")
    @classmethod
    def _built_once(cls, value: object, validate: ModelWrapValidatorHandler[Self]) -> Self:
        """Let errors share what they are about: from JSON itself each field that is missing builds all of it anew."""
        return validate(value)


class TaskBody(TaskRequest[ItemT], Generic[ItemT]):
    """The REST body, stored byte for byte as such a record; who asks over REST is called back."""

    callback_url: CallbackUrl


class JobResponseStructure(Message):
    """What the callback will look like, as the gateway tells it."""

    results: tuple[dict[str, JsonValue], ...] = ({},)
    errors: tuple[dict[str, JsonValue], ...] = ({},)
    task_id: str


class Accepted(Message):
    """The gateway's 200: the broker holds the request."""

    message: str = "Processing of your request has started"
    task_id: str
    async_job_response_structure: JobResponseStructure


class Times(Message):
    """When a task's record was stored, and when its work began and ended."""

    received: datetime
    started: datetime
    finished: datetime


class TaskResult(Message):
    """The value of a record in `task.results`; entries stand in the order of the request's items.

    Without a `callback_url` nobody is called back: who asked reads the result here.
    """

    task_id: str
    task: str
    callback_url: CallbackUrl | None = None
    results: list[Entry]
    errors: list[Entry]
    times: Times


class CallbackBody(Message):
    """What is POSTed to the `callback_url`."""

    results: list[Entry]
    errors: list[Entry]
    task_id: str


class CallbackAttempt(Message):
    """The value of a record in `callback.attempts`: one attempt to deliver, and what comes next.

    `number` counts from 1; `status` is None where there was no answer; `next_due` is None where no attempt follows.
    `result_digest` tells which result was sent, as one task may have several: the `errors` of a request that could not
    be processed and, after its replay, what it came to. It is None in a replay, and in what an earlier version wrote.
    A replay stands there as well, as number 0 with the outcome `replayed` and the place of its `dead_letter`.
    """

    task_id: str
    number: int
    receiver: str
    outcome: str
    status: int | None
    detail: str
    started: datetime
    duration_ms: int
    next_due: datetime | None
    dead_letter: str | None = None
    result_digest: str | None = None


def result_digest(value: bytes) -> str:
    """Return which result this record's value is, whatever topic it stands in: BLAKE2b of 128 bits, in hex."""
    return blake2b(value, digest_size=16).hexdigest()
