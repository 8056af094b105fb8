"""The messages that cross a process boundary, and their JSON Schemas, made of the models that the code itself uses."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode

from callstream.contract.dead_letters import Reason, dead_letter_fields
from callstream.contract.header_fields import HeaderField, JsonSchema, headers_schema
from callstream.contract.headers import TASK_ID_FIELD, TRACE_FIELDS, event_fields
from callstream.contract.messages import CallbackAttempt, CallbackBody, TaskResult
from callstream.contract.retries import DEADLINE_FIELD, PROGRESS_FIELDS

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_PASSED_ON = (*TRACE_FIELDS, DEADLINE_FIELD)
_REQUEST_HEADERS = (TASK_ID_FIELD._replace(required=False), *_PASSED_ON)
_RESULT_HEADERS = (*event_fields("calculation.finished", "tasks"), *_PASSED_ON)
_WAITING_HEADERS = (*_RESULT_HEADERS, *PROGRESS_FIELDS)
_ATTEMPT_HEADERS = event_fields("callback.attempted", "callbacks")


class TaskType(Protocol):
    """What a published contract says of a task type; `example` is the `message` of a request."""

    @property
    def name(self) -> str: ...
    @property
    def summary(self) -> str: ...
    @property
    def request(self) -> type[BaseModel]: ...
    @property
    def example(self) -> tuple[Mapping[str, object], ...]: ...


class Kind(NamedTuple):
    """A kind of record; `model` is None where the value can be any bytes, `emptied` if it may be null instead."""

    name: str
    summary: str
    model: type[BaseModel] | None
    mode: JsonSchemaMode
    headers: tuple[HeaderField, ...]
    emptied: bool = False

    @property
    def headers_schema(self) -> JsonSchema:
        return headers_schema(f"{self.name}.headers", self.headers)


RESULT = Kind("task.result", "What a task came to", TaskResult, "serialization", _RESULT_HEADERS)
WAITING = Kind("callback.retry", "A result that waits to be sent again", TaskResult, "serialization", _WAITING_HEADERS)
ATTEMPT = Kind(
    "callback.attempt", "One attempt to call back, or a replay", CallbackAttempt, "serialization", _ATTEMPT_HEADERS
)
TASK_DEAD_LETTER = Kind(
    "task.dead-letter",
    "A record that could not be processed: key, value and headers as they came, these headers behind them",
    None,
    "validation",
    dead_letter_fields(Reason.UNREADABLE, "the record has no value", "calculation.requests"),
)
CALLBACK_DEAD_LETTER = Kind(
    "callback.dead-letter",
    "A result that its receiver did not take: as it came, these headers behind its own",
    TaskResult,
    "serialization",
    (
        *_RESULT_HEADERS,
        *(field._replace(required=False) for field in PROGRESS_FIELDS),  # one that was refused at once never waited
        *dead_letter_fields(Reason.REFUSED, "the receiver answered 410", "task.results"),
    ),
    emptied=True,
)
_SHARED = (RESULT, WAITING, ATTEMPT, TASK_DEAD_LETTER, CALLBACK_DEAD_LETTER)


def request_kind(task: TaskType) -> Kind:
    return Kind(f"{task.name}.request", task.summary, task.request, "validation", _REQUEST_HEADERS)


def schema_files(tasks: Iterable[TaskType]) -> dict[str, JsonSchema]:
    """Return a JSON Schema by name for the values of each kind of record, their headers, and the callback's body."""
    kinds = [*(request_kind(task) for task in tasks), *_SHARED]
    values = {kind.name: _value_schema(kind.name, kind) for kind in kinds if kind.model is not None}
    headers = {f"{kind.name}.headers": kind.headers_schema for kind in kinds}
    body = {"callback": _model_schema("callback", CallbackBody, "serialization")}
    return {name: {"$schema": DIALECT, **schema} for name, schema in (values | headers | body).items()}


def _value_schema(title: str, kind: Kind) -> JsonSchema:
    assert kind.model is not None  # noqa: S101 - for mypy; the caller has looked
    schema = _model_schema(title, kind.model, kind.mode)
    if not kind.emptied:
        return schema
    definitions: dict[str, Any] = schema.pop("$defs", {})
    return {"title": title, "anyOf": [schema, {"type": "null"}], "$defs": definitions}


def _model_schema(title: str, model: type[BaseModel], mode: JsonSchemaMode) -> JsonSchema:
    return {**model.model_json_schema(mode=mode), "title": title}
