"""A result is read for delivery: its entries go on as they came, and what is no result says why."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callstream.contract.messages import CallbackBody, TaskResult, Times
from stream_app.reading import UnreadableError
from stream_app.results import read_result
from tests.unit.records import CALLBACK_URL, record

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RESULT: dict[str, Any] = TaskResult(
    task_id="t-1",
    task="calculation",
    callback_url=CALLBACK_URL,
    results=[{"calc_0": 123.76}],
    errors=[{"calc_1": "division by zero"}],
    times=Times(received=NOW, started=NOW, finished=NOW),
).model_dump(mode="json")
LIMIT = 2**22

texts = st.text(st.characters(exclude_categories=["Cs"]))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
entries = st.lists(st.dictionaries(texts, json_values, min_size=1, max_size=1), max_size=3)


@given(entries, entries, st.sampled_from([None, 0, 2]), st.sampled_from([True, False]), st.permutations(list(RESULT)))
def test_the_callback_holds_the_very_entries_in_whatever_form_they_came(
    results: Any, errors: Any, indent: int | None, ascii_only: object, order: list[str]
) -> None:
    written = {**RESULT, "results": results, "errors": errors, "more": {"of": ["others"]}}
    text = json.dumps({name: written[name] for name in [*order, "more"]}, indent=indent, ensure_ascii=bool(ascii_only))
    found = read_result(record(text.encode(), topic="task.results"), LIMIT)
    assert (found.task_id, found.callback_url) == ("t-1", CALLBACK_URL)
    assert json.loads(found.body) == {"results": results, "errors": errors, "task_id": "t-1"}
    CallbackBody.model_validate_json(found.body)


def test_a_result_without_a_callback_url_is_one_nobody_waits_for() -> None:
    assert read_result(record({**RESULT, "callback_url": None}), LIMIT).callback_url is None


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"task_id": "t" * 129}, "task_id: must be 1 to 128"),
        ({"task_id": "a b"}, "task_id: must be"),
        ({"task_id": 7}, "task_id"),
        ({"results": {}}, "results: must be a list"),
        ({"errors": "x"}, "errors: must be a list"),
        ({"callback_url": "ftp://receiver.example"}, "callback_url: "),
        ({"callback_url": "http://" + "x" * 4_000}, "callback_url: "),
        ({"times": {"received": "soon"}}, "times.received"),
    ],
)
def test_what_is_no_result_says_why(change: dict[str, Any], error: str) -> None:
    with pytest.raises(UnreadableError, match=error) as raised:
        read_result(record({**RESULT, **change}), LIMIT)
    assert len(str(raised.value)) <= 1_000


@pytest.mark.parametrize(
    "entries",
    ["[NaN]", "[1,]", "[nul]", '["\\ud800"]', '["\x01"]', "[" * 100_000 + "]" * 100_000, "[", "[1] 2", '[{"a" 1}]'],
)
def test_entries_that_are_no_json_are_never_passed_on(entries: str) -> None:
    value = json.dumps({**RESULT, "results": "HERE"}).replace('"HERE"', entries).encode()
    with pytest.raises(UnreadableError):
        read_result(record(value), LIMIT)


@pytest.mark.parametrize("value", [None, b"", b"\xff", json.dumps(RESULT).encode("utf-16"), b'["\xff"]'])
def test_bytes_that_are_no_json_are_no_result(value: bytes | None) -> None:
    with pytest.raises(UnreadableError):
        read_result(record(value), LIMIT)


def test_text_in_the_entries_that_is_not_utf_8_is_never_passed_on() -> None:
    value = json.dumps({**RESULT, "results": ["HERE"]}).encode().replace(b"HERE", b"\xff")
    with pytest.raises(UnreadableError):
        read_result(record(value), LIMIT)


def test_a_record_with_headers_beyond_the_limit_is_too_large() -> None:
    with pytest.raises(UnreadableError, match="are allowed"):
        read_result(record(RESULT, headers=(("h", b"x" * LIMIT),)), LIMIT)
