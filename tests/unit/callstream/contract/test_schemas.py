"""The JSON Schema files."""

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from callstream.contract.examples import VALUES, request
from callstream.contract.schemas import DIALECT, schema_files
from callstream.tasks import load_tasks

FILES = schema_files(load_tasks().values())
CALCULATION = request(load_tasks()["calculation"])


def test_there_is_a_schema_for_each_message_and_its_headers() -> None:
    values = {"calculation.request", "data.request", "task.result", "callback.retry", "callback.attempt"}
    letters = {"callback.dead-letter", "task.dead-letter"}
    headers = {f"{name}.headers" for name in values | letters}
    assert set(FILES) == values | headers | {"callback.dead-letter", "callback"}


@pytest.mark.parametrize("name", FILES)
def test_each_is_valid_by_its_dialect_and_titled_by_its_name(name: str) -> None:
    assert FILES[name]["$schema"] == DIALECT
    assert FILES[name]["title"] == name
    Draft202012Validator.check_schema(FILES[name])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("calculation.request", CALCULATION),
        ("callback", {"results": [], "errors": [{"a": "division by zero"}], "task_id": "t"}),
        ("callback.dead-letter", None),
        *VALUES.items(),
    ],
)
def test_each_stands_by_itself_and_takes_what_is_right_and_nothing_else(name: str, value: Any) -> None:
    judge = Draft202012Validator(FILES[name])
    judge.validate(value)
    assert not judge.is_valid({"task_id": 1})
