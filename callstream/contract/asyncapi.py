"""The AsyncAPI document of the topics: https://www.asyncapi.com/docs/reference/specification/v3.0.0.

It names no brokers: who may read it, at the gateway, need not know where they are.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import pydantic_core
import yaml
from pydantic.json_schema import models_json_schema

import callstream
from callstream.contract import examples
from callstream.contract.header_fields import headers_example
from callstream.contract.schemas import (
    ATTEMPT,
    CALLBACK_DEAD_LETTER,
    RESULT,
    TASK_DEAD_LETTER,
    WAITING,
    Kind,
    TaskType,
    request_kind,
)
from callstream.contract.topics import Shape, Topics

Document = dict[str, Any]

_BINDING = {"bindingVersion": "0.5.0"}
_ID_KEY = {"type": "string", "description": "The task's id"}
_ANY_KEY = {"type": ["string", "null"], "description": "Any, or none; the gateway takes the task's id"}
_ANY_BYTES = {"description": "The bytes as they came, whatever they are; null where they were too large to be kept"}
_SAME_KEY = {"type": ["string", "null"], "description": "As it came"}


def document(tasks: Iterable[TaskType], topics: Topics, shapes: Mapping[str, Shape]) -> Document:
    """Return the AsyncAPI 3.0 document of the topics in `shapes`."""
    types = {topics.requests(task.name): task for task in tasks}
    kinds = {topic: _kind(topic, types, topics) for topic in shapes}
    requests = {request_kind(task).name: task for task in types.values()}
    payloads, schemas = _payloads({kind.name: kind for kind in kinds.values()})
    written: Document = pydantic_core.to_jsonable_python(
        {
            "asyncapi": "3.0.0",
            "info": _info(),
            "defaultContentType": "application/json",
            "channels": {_short(topic, topics): _channel(topic, kinds[topic], shapes[topic]) for topic in shapes},
            "operations": dict(_operation(_short(topic, topics), kind) for topic, kind in kinds.items()),
            "components": {
                "messages": {kind.name: _message(kind, payloads[kind.name], requests) for kind in kinds.values()},
                "schemas": schemas,
            },
        }
    )
    return written


def as_yaml(written: Document) -> str:
    return yaml.safe_dump(written, sort_keys=False, allow_unicode=True, width=120)


def _info() -> Document:
    return {
        "title": "Callstream",
        "version": callstream.__version__,
        "description": "Tasks come in as records (or over REST), results go out as records and as callbacks.",
        "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
    }


def _kind(topic: str, types: Mapping[str, TaskType], topics: Topics) -> Kind:
    if topic in types:
        return request_kind(types[topic])
    if topics.is_retry(topic):
        return WAITING
    return {
        topics.results: RESULT,
        topics.attempts: ATTEMPT,
        topics.task_dead_letters: TASK_DEAD_LETTER,
        topics.callback_dead_letters: CALLBACK_DEAD_LETTER,
    }[topic]


def _short(topic: str, topics: Topics) -> str:
    return topic.removeprefix(topics.prefix)


def _channel(topic: str, kind: Kind, shape: Shape) -> Document:
    replicas = {"replicas": shape.replicas} if shape.replicas > 0 else {}  # else it is the broker's default
    kept = {"cleanup.policy": ["delete"], "retention.ms": shape.retention, "retention.bytes": -1}
    configuration = {**kept, "max.message.bytes": shape.largest}
    kafka = {"topic": topic, "partitions": shape.partitions, **replicas, "topicConfiguration": configuration}
    return {
        "address": topic,
        "summary": kind.summary,
        "messages": {kind.name: {"$ref": f"#/components/messages/{kind.name}"}},
        "bindings": {"kafka": kafka | _BINDING},
    }


def _operation(channel: str, kind: Kind) -> tuple[str, Document]:
    """Return the operation as Callstream sees it: what it receives, others may send."""
    action, verb = ("receive", "Reads") if kind.mode == "validation" and kind.model is not None else ("send", "Writes")
    return f"{action}.{channel}", {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": f"{verb}: {kind.summary[0].lower()}{kind.summary[1:]}",
        "messages": [{"$ref": f"#/channels/{channel}/messages/{kind.name}"}],
    }


def _message(kind: Kind, payload: Document, requests: Mapping[str, TaskType]) -> Document:
    task = requests.get(kind.name)
    identified = {"correlationId": {"description": "The task's id", "location": "$message.header#/ce_id"}}
    example = examples.request(task) if task else examples.VALUES.get(kind.name)
    shown = [{"headers": headers_example(kind.headers), "payload": example}] if example is not None else []
    return {
        "name": kind.name,
        "title": kind.name,
        "summary": kind.summary,
        "contentType": "application/json" if kind.model is not None else "application/octet-stream",
        "headers": kind.headers_schema,
        "payload": payload,
        **(identified if kind is not TASK_DEAD_LETTER else {}),
        "bindings": {"kafka": {"key": _key(kind, is_request=task is not None), **_BINDING}},
        **({"examples": shown} if shown else {}),
    }


def _key(kind: Kind, *, is_request: bool) -> Document:
    if is_request:
        return _ANY_KEY
    return _SAME_KEY if kind is TASK_DEAD_LETTER else _ID_KEY


def _payloads(kinds: Mapping[str, Kind]) -> tuple[dict[str, Document], Document]:
    """Return the payload of each kind, by name, and the schemas that the payloads refer to."""
    models = {(kind.model, kind.mode): None for kind in kinds.values() if kind.model is not None}
    references, schemas = models_json_schema([*models], ref_template="#/components/schemas/{model}")
    payloads = {}
    for name, kind in kinds.items():
        payload = _ANY_BYTES if kind.model is None else references[kind.model, kind.mode]
        payloads[name] = {"anyOf": [payload, {"type": "null"}]} if kind.emptied else payload
    return payloads, schemas["$defs"]
