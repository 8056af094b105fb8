"""The published contract as a judge of records."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

FORMATS = FormatChecker(())


@FORMATS.checks("date-time", raises=ValueError)
def _is_time_with_offset(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


class Contract:
    """Says what of a record is not as the AsyncAPI document `document` describes it."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        self._message_of = {
            channel["address"]: document["components"]["messages"][message]
            for channel in document["channels"].values()
            for message in channel["messages"]
        }

    @property
    def topics(self) -> dict[str, int]:
        """The topics' names, with their numbers of partitions."""
        bindings = [channel["bindings"]["kafka"] for channel in self.document["channels"].values()]
        return {binding["topic"]: binding["partitions"] for binding in bindings}

    def complaints(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes | None]]
    ) -> list[str]:
        message = self._message_of[topic]
        texts = {name: None if raw is None else raw.decode(errors="replace") for name, raw in headers}
        is_json = message["contentType"] == "application/json"
        payload = json.loads(value) if is_json and value is not None else None
        return [
            *self._errors(message["bindings"]["kafka"]["key"], None if key is None else key.decode(errors="replace")),
            *self._errors(message["headers"], texts),
            *self._errors(message["payload"], payload),
        ]

    def complaints_about_example(self, message: Mapping[str, Any], example: Mapping[str, Any]) -> list[str]:
        return [
            *self._errors(message["headers"], example["headers"]),
            *self._errors(message["payload"], example["payload"]),
        ]

    def _errors(self, schema: Mapping[str, Any], instance: object) -> list[str]:
        whole = {**schema, "components": self.document["components"]}  # where its references lead
        validator = Draft202012Validator(whole, format_checker=FORMATS)
        return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(instance)]
