"""The AsyncAPI document is valid, complete and says what the code does."""

import json
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from callstream.contract.asyncapi import Document, as_yaml, document
from callstream.contract.dead_letters import Reason, dead_letter
from callstream.contract.headers import TIME_EXAMPLE, event_headers
from callstream.contract.records import Headers
from callstream.runtime.settings import Settings
from callstream.runtime.topic_shapes import topic_shapes
from callstream.tasks import load_tasks
from tests.support.contract import Contract
from tests.unit.records import record

OFFICIAL = Draft7Validator(json.loads(Path("tests/data/asyncapi-3.0.0.json").read_text()))
RESULT_VALUE: dict[str, Any] = {
    "task_id": "t",
    "task": "calculation",
    "callback_url": "http://receiver.example/",
    "results": [{"sum": 1.5}],
    "errors": [],
    "times": {"received": TIME_EXAMPLE, "started": TIME_EXAMPLE, "finished": TIME_EXAMPLE},
}
RESULT_HEADERS = event_headers("t", "calculation.finished", "tasks")
REQUEST_VALUE: dict[str, Any] = {
    "callback_url": "http://receiver.example/",
    "message": [{"name": "sum", "num_1": 1, "num_2": 0.5, "operation": "+", "result_rounding": 2}],
}


def written(**settings: object) -> Document:
    read, tasks = Settings.model_validate(settings), load_tasks()
    return document(tasks.values(), read.topic_names, topic_shapes(read, tasks))


@pytest.fixture(scope="module")
def contract() -> Contract:
    return Contract(written())


@pytest.mark.parametrize("settings", [{}, {"topics": {"prefix": "one.", "replication_factor": 3}}])
def test_the_document_is_valid_by_the_official_schema(settings: dict[str, object]) -> None:
    assert [error.json_path for error in OFFICIAL.iter_errors(written(**settings))] == []


@pytest.mark.parametrize("part", ["channels", "operations"])
def test_the_official_schema_refuses_a_broken_document(part: str) -> None:
    broken = deepcopy(written())
    next(iter(broken[part].values()))["messages"] = 1
    assert not OFFICIAL.is_valid(broken)


def test_every_topic_is_a_channel_with_the_prefix_and_shape_of_the_settings() -> None:
    settings = {"topics": {"prefix": "one.", "partitions": 3, "replication_factor": 2}}
    read, tasks = Settings.model_validate(settings), load_tasks()
    channels = written(**settings)["channels"]
    assert [channel["address"] for channel in channels.values()] == read.topic_names.all(tasks, read.callbacks.tiers)
    kafka = channels["callback.dead-letters"]["bindings"]["kafka"]
    assert (kafka["topic"], kafka["partitions"], kafka["replicas"]) == ("one.callback.dead-letters", 3, 2)
    assert kafka["topicConfiguration"] == {
        "cleanup.policy": ["delete"],
        "retention.ms": 4 * 7 * 86_400_000,
        "retention.bytes": -1,
        "max.message.bytes": 2 * 4 * 2**20,
    }


def test_every_reference_leads_somewhere(contract: Contract) -> None:
    def follow(part: object) -> None:
        match part:
            case {"$ref": str(reference)}:
                target: Any = contract.document
                for step in reference.removeprefix("#/").split("/"):
                    target = target[step]
            case dict():
                for inner in part.values():
                    follow(inner)
            case list():
                for inner in part:
                    follow(inner)

    follow(contract.document)


def test_yaml_and_the_document_are_the_same(contract: Contract) -> None:
    assert yaml.safe_load(as_yaml(dict(contract.document))) == contract.document


def test_every_message_with_a_schema_has_an_example_that_is_valid(contract: Contract) -> None:
    for name, message in contract.document["components"]["messages"].items():
        assert message.get("examples") or name == "task.dead-letter"
        for example in message.get("examples", ()):
            assert contract.complaints_about_example(message, example) == [], name


@pytest.mark.parametrize(
    ("topic", "value", "headers"),
    [
        ("calculation.requests", REQUEST_VALUE, ()),
        ("calculation.requests", REQUEST_VALUE, (("ce_id", b"order-1"), ("mine", b"\xff"), ("none", None))),
        ("task.results", RESULT_VALUE, RESULT_HEADERS),
    ],
)
def test_a_right_record_is_as_described(
    contract: Contract, topic: str, value: Mapping[str, Any], headers: Headers
) -> None:
    assert contract.complaints(topic, b"t", json.dumps(value).encode(), headers) == []


@pytest.mark.parametrize(
    ("topic", "value", "headers", "complaint"),
    [
        ("calculation.requests", {**REQUEST_VALUE, "message": 1}, (), "$.message"),
        ("calculation.requests", {**REQUEST_VALUE, "message": [{}]}, (), "$.message[0]"),
        ("calculation.requests", REQUEST_VALUE, (("ce_id", b"a b"),), "$.ce_id"),
        ("calculation.requests", REQUEST_VALUE, (("callback_deadline", b"soon"),), "$.callback_deadline"),
        ("calculation.requests", REQUEST_VALUE, (("callback_deadline", b"2026-01-31T12:00"),), "$.callback_deadline"),
        ("task.results", {**RESULT_VALUE, "errors": {}}, RESULT_HEADERS, "$.errors"),
        ("task.results", RESULT_VALUE, RESULT_HEADERS[1:], "'ce_specversion' is a required property"),
        ("callback.retry.5s", RESULT_VALUE, RESULT_HEADERS, "'callback_due' is a required property"),
        ("callback.dead-letters", RESULT_VALUE, RESULT_HEADERS, "'dead_letter_reason' is a required property"),
    ],
)
def test_a_wrong_record_is_not(
    contract: Contract, topic: str, value: Mapping[str, Any], headers: Headers, complaint: str
) -> None:
    complaints = contract.complaints(topic, b"t", json.dumps(value).encode(), headers)
    assert complaint in " ".join(complaints)


@pytest.mark.parametrize("value", [b"{", b"\xff", b"", None])
def test_a_dead_letter_may_hold_anything(contract: Contract, value: bytes | None) -> None:
    letter = dead_letter(
        record(value, headers=(("ce_id", b"\xff"),)), "task.dead-letters", Reason.UNREADABLE, "no JSON"
    )
    assert contract.complaints(letter.topic, letter.key, letter.value, letter.headers) == []
