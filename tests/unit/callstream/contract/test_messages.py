"""What a message accepts, and that it reads back as it was written."""

import contextlib
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue, TypeAdapter, ValidationError

from callstream.contract.messages import CallbackBody, CallbackUrl, Item, Json, TaskBody, TaskRequest, TaskResult, Times
from tests.unit.records import CALLBACK_URL

callback_url: TypeAdapter[str] = TypeAdapter(CallbackUrl)
as_json: TypeAdapter[JsonValue] = TypeAdapter(Json)

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=15,
)
entries = st.lists(st.dictionaries(st.text(), json_values, min_size=1, max_size=1), max_size=5)
moments = st.datetimes(min_value=datetime(1, 1, 2), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone


def nested(depth: int) -> JsonValue:
    value: JsonValue = 1
    for _ in range(depth):
        value = [value]
    return value


def result(**changes: Any) -> TaskResult:
    now = datetime.now(UTC)
    fields: dict[str, Any] = {
        "task_id": "t-1",
        "task": "calculation",
        "callback_url": CALLBACK_URL,
        "results": [],
        "errors": [],
        "times": Times(received=now, started=now, finished=now),
    }
    return TaskResult(**fields | changes)


@pytest.mark.parametrize(
    "url",
    [
        CALLBACK_URL,
        "https://receiver.example",
        "HTTP://receiver.example/",
        "http://localhost:8001/test-me?a=1#fragment",
        "http://127.0.0.1:1",
        "http://receiver.example:65535",
        "http://[::1]:8001/test-me",
        "http://[::ffff:127.0.0.1]/",
        "http://receiver.example./rooted",
        "http://münchen.example/straße",
        "http://xn--mnchen-3ya.example/",
        "http://receiver.example/100%25",
        f"http://{'a' * 63}.example/",
        f"http://receiver.example/{'x' * (2_048 - 24)}",
    ],
)
def test_a_callback_url_stays_as_it_came(url: str) -> None:
    assert callback_url.validate_python(url) == url


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("", "absolute http or https"),
        ("/test-me", "absolute http or https"),
        ("//receiver.example/", "absolute http or https"),
        ("receiver.example", "absolute http or https"),
        ("ftp://receiver.example/", "absolute http or https"),
        ("file:///etc/passwd", "absolute http or https"),
        ("javascript:alert(1)", "absolute http or https"),
        ("http://", "name a host"),
        ("http:///test-me", "name a host"),
        ("http:receiver.example", "name a host"),
        ("http://user:secret@receiver.example/", "credentials"),
        ("http://user@receiver.example/", "credentials"),
        ("http://@receiver.example/", "credentials"),
        ("http://receiver.example/a b", "spaces"),
        (" http://receiver.example/", "spaces"),
        ("http://receiver.example/\r\nHost: other", "control characters"),
        ("http://receiver.example/\x00", "control characters"),
        ("http://receiver.example/\x85", "control characters"),
        ("http://receiver.example/\u2028", "spaces"),
        ("http://receiver.example\\@inside.example/", "backslashes"),
        ("http://receiver.example:0/", "port 0"),
        ("http://receiver.example:65536/", "[Pp]ort"),
        ("http://receiver.example:http/", "[Pp]ort"),
        ("http://receiver.example:-1/", "[Pp]ort"),
        ("http://[::1", "IPv6"),
        ("http://[::g]/", "IPv6"),
        ("http://999.1.1.1/", "IPv4"),
        ("http://a..example/", "host that can exist"),
        (f"http://{'a' * 64}.example/", "host that can exist"),
        ("http://xn--a/", "domain name"),
        ("http://receiver.example/\ud800", "unicode"),
        (f"http://receiver.example/{'x' * (2_049 - 24)}", "at most 2048 characters"),
    ],
)
def test_a_callback_url_that_cannot_be_called_is_refused_with_the_reason(url: str, complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        callback_url.validate_python(url)


@given(st.text(max_size=60).map(lambda rest: f"http://{rest}"))
def test_any_text_behind_the_scheme_is_a_callback_url_or_is_refused(url: str) -> None:
    with contextlib.suppress(ValidationError):
        assert callback_url.validate_python(url) == url


@pytest.mark.parametrize(("message", "field"), [(Item(name="calc_0"), "name"), (result(), "task_id")])
def test_a_message_cannot_be_changed(message: Item | TaskResult, field: str) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        setattr(message, field, "other")


def test_what_a_message_does_not_know_is_ignored_at_every_level() -> None:
    raw = f'{{"callback_url": "{CALLBACK_URL}", "message": [{{"name": "a", "new": 1}}], "new": {{}}}}'
    request = TaskRequest[Item].model_validate_json(raw)
    assert request.model_dump() == {"callback_url": CALLBACK_URL, "message": [{"name": "a"}]}


@pytest.mark.parametrize(
    ("model", "required"), [(TaskRequest[Item], {"message"}), (TaskBody[Item], {"callback_url", "message"})]
)
def test_only_a_rest_body_must_say_where_to_call_back(model: type[TaskRequest[Item]], required: set[str]) -> None:
    assert set(model.model_json_schema()["required"]) == required


@given(results=entries, errors=entries, received=moments)
def test_a_result_reads_back_as_it_was_written(
    results: list[dict[str, JsonValue]], errors: list[dict[str, JsonValue]], received: datetime
) -> None:
    now = datetime.now(UTC)
    written = result(results=results, errors=errors, times=Times(received=received, started=now, finished=now))
    assert TaskResult.model_validate_json(written.model_dump_json()) == written


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("field", ["results", "errors"])
def test_a_result_with_a_number_that_json_does_not_have_is_not_read(field: str, number: str) -> None:
    raw = result(**{field: [{"a": {"deep": [0]}}]}).model_dump_json()
    with pytest.raises(ValidationError, match=field):
        TaskResult.model_validate_json(raw.replace("[0]", f"[{number}]"))


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        {"a": [float("-inf")]},
        "\ud800",
        {"\udfff": 1},
        10**5_000,
        nested(198),
        nested(5_000),
    ],
    ids=["nan", "inf", "nested -inf", "surrogate", "surrogate key", "huge integer", "deep", "very deep"],
)
def test_a_value_that_would_not_read_back_never_gets_into_a_message(value: Any) -> None:
    for build in (as_json.validate_python, lambda wrong: CallbackBody(results=[{"a": wrong}], errors=[], task_id="t")):
        with pytest.raises(ValidationError):
            build(value)


def test_the_deepest_value_that_is_let_in_reads_back() -> None:
    written = result(results=[{"a": nested(197)}])
    assert TaskResult.model_validate_json(written.model_dump_json()) == written
