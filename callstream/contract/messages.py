"""One frozen model a message; OpenAPI and every schema that Callstream publishes come from these."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Generic, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, HttpUrl, JsonValue, TypeAdapter

CALLBACK_URL_LIMIT = 2_048  # characters

# One item's value or error text under the item's name. A list of these keeps two items of the same name apart.
Entry = dict[str, JsonValue]

_http_url = TypeAdapter(HttpUrl)


def _absolute_http_url(url: str) -> str:
    """Return `url` as it came if a callback can be sent there; what was asked for is what is dialled."""
    if any(character <= " " or character in "\x7f\\" for character in url):
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
    _http_url.validate_python(url)  # a host that no resolver would take
    return url


CallbackUrl = Annotated[
    str,
    Field(max_length=CALLBACK_URL_LIMIT, json_schema_extra={"format": "uri"}),
    AfterValidator(_absolute_http_url),
]


class Message(BaseModel):
    model_config = ConfigDict(frozen=True)


class Item(Message):
    """One piece of work in a request; a task type adds its own fields."""

    name: str


ItemT = TypeVar("ItemT", bound=Item)


class TaskRequest(Message, Generic[ItemT]):
    """The REST body and, byte for byte, the value of a record in `<task>.requests`."""

    callback_url: CallbackUrl
    message: Sequence[ItemT]


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
    """The value of a record in `task.results`; entries stand in the order of the request's items."""

    task_id: str
    task: str
    callback_url: CallbackUrl
    results: list[Entry]
    errors: list[Entry]
    times: Times


class CallbackBody(Message):
    """What is POSTed to the `callback_url`."""

    results: list[Entry]
    errors: list[Entry]
    task_id: str
