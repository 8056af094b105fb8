"""What a client of the gateway is answered, and what is stored of what it sent."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import httpx
import pytest

from gateway.publisher import OutcomeUnknownError, RefusedError, TooLargeError
from tests.unit.gateway.conftest import FakePublisher

PATH = "/v1/calculation/basic"
JSON = {"content-type": "application/json"}
ITEM = {"name": "sum", "num_1": 1, "num_2": 2, "operation": "+", "result_rounding": 0}
REQUEST = {"callback_url": "http://receiver.example/", "message": [ITEM]}
BODY = json.dumps(REQUEST).encode()


def wrong(**changes: object) -> bytes:
    return json.dumps({**REQUEST, "message": [{**ITEM, **changes}]}).encode()


async def test_an_accepted_request_is_answered_as_the_seed_did_plus_a_task_id(client: httpx.AsyncClient) -> None:
    answer = await client.post(PATH, content=BODY, headers=JSON)
    task_id = answer.json()["task_id"]
    assert answer.status_code == 200
    assert UUID(task_id).version == 7
    assert answer.json() == {
        "message": "Processing of your request has started",
        "task_id": task_id,
        "async_job_response_structure": {"results": [{}], "errors": [{}], "task_id": task_id},
    }


async def test_the_very_bytes_that_were_sent_are_stored_with_the_ids_and_the_trace(
    client: httpx.AsyncClient, publisher: FakePublisher
) -> None:
    body = b"\n " + BODY.replace(b'"message"', b'"unknown": 1.50, "message"')
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    answer = await client.post(PATH, content=body, headers={**JSON, "traceparent": trace, "ce_id": "mine"})
    task_id = answer.json()["task_id"]
    (record,) = publisher.records
    headers = dict(record.headers)
    assert (record.topic, record.key, record.value) == ("calculation.requests", task_id.encode(), body)
    assert headers["ce_id"] == task_id.encode()
    assert headers["ce_type"] == b"callstream.calculation.requested"
    assert headers["traceparent"] == trace.encode()


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b"", ["body"]),
        (b"{", ["body"]),
        (b"\xff", ["body"]),
        (b"[]", ["body"]),
        (b'{"callback_url": ' + b"[" * 5_000, ["body"]),
        (b'{"callback_url": "http://a.example/", "message": [{"name": "\\ud800"}]}', ["body"]),
        (b'{"message": []}', ["body", "callback_url"]),
        (b'{"callback_url": null, "message": []}', ["body", "callback_url"]),
        (wrong(operation="%"), ["body", "message", 0, "operation"]),
        (wrong(num_1="one"), ["body", "message", 0, "num_1"]),
        (BODY.replace(b'"num_1": 1', b'"num_1": NaN'), ["body", "message", 0, "num_1"]),
        (BODY.replace(b'"num_1": 1', b'"num_1": 1e999'), ["body", "message", 0, "num_1"]),
        (wrong(num_2=10**400), ["body", "message", 0, "num_2"]),
        (BODY.replace(b"http://receiver", b"ftp://receiver"), ["body", "callback_url"]),
        (BODY.replace(b"http://receiver", b"http://user:secret@receiver"), ["body", "callback_url"]),
    ],
)
async def test_an_invalid_body_is_answered_in_fastapis_form_and_nothing_is_stored(
    client: httpx.AsyncClient, publisher: FakePublisher, body: bytes, where: list[Any]
) -> None:
    answer = await client.post(PATH, content=body, headers=JSON)
    assert answer.status_code == 422
    (detail,) = answer.json()["detail"]
    assert detail["loc"] == where
    assert detail.keys() >= {"type", "loc", "msg", "input"}
    assert not publisher.records


async def test_a_body_of_thousands_of_wrong_items_is_told_the_first(client: httpx.AsyncClient) -> None:
    body = b'{"callback_url": "http://receiver.example/", "message": [' + b",".join([b"{}"] * 1_000) + b"]}"
    answer = await client.post(PATH, content=body, headers=JSON)
    assert answer.status_code == 422
    assert {tuple(detail["loc"][:3]) for detail in answer.json()["detail"]} == {("body", "message", 0)}


async def test_a_body_of_more_items_than_the_limit_is_told_so_as_pydantic_does(
    client: httpx.AsyncClient, publisher: FakePublisher
) -> None:
    body = b'{"callback_url": "http://receiver.example/", "message": [' + b",".join([b"{}"] * 1_001) + b"]}"
    answer = await client.post(PATH, content=body, headers=JSON)
    assert answer.status_code == 422
    (detail,) = answer.json()["detail"]
    assert (detail["type"], detail["loc"]) == ("too_long", ["body", "message"])
    assert detail["msg"] == "List should have at most 1000 items after validation, not 1001"
    assert len(answer.content) < 1_000
    assert not publisher.records


@pytest.mark.parametrize(
    "item",
    [
        {"name": "a", "url": "http://a.example/", "payload": "x" * 9_000},
        {"name": "a", "url": "http://a.example/", "headers": {"x" * 9_000: 1}},
        {"name": "a", "url": "http://a.example/", "headers": {str(number): 1 for number in range(900)}},
    ],
)
async def test_an_answer_is_small_however_large_what_is_wrong(client: httpx.AsyncClient, item: object) -> None:
    body = json.dumps({**REQUEST, "message": [item]}).encode()
    answer = await client.post("/v1/data/from-api", content=body, headers=JSON)
    assert answer.status_code == 422
    assert len(answer.content) < 20_000
    for detail in answer.json()["detail"]:
        assert detail["loc"][0] == "body"
        assert detail.keys() >= {"type", "loc", "msg", "input"}


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ({}, "content-type"),
        ({"content-type": "text/plain"}, "content-type"),
        ({"content-type": "application/x-www-form-urlencoded"}, "content-type"),
        ({**JSON, "content-encoding": "gzip"}, "content-encoding"),
    ],
)
async def test_a_body_that_is_not_plain_json_is_refused_naming_the_header(
    client: httpx.AsyncClient, publisher: FakePublisher, headers: dict[str, str], name: str
) -> None:
    answer = await client.post(PATH, content=gzip.compress(BODY), headers=headers)
    assert answer.status_code == 422
    assert [detail["loc"] for detail in answer.json()["detail"]] == [["header", name]]
    assert not publisher.records


async def test_a_deadline_for_the_callback_goes_with_the_record(
    client: httpx.AsyncClient, publisher: FakePublisher
) -> None:
    deadline = "2026-11-24T12:00:00Z"
    await client.post(PATH, content=BODY, headers={**JSON, "callback-deadline": deadline})
    assert dict(publisher.records[0].headers)["callback_deadline"] == deadline.encode()


@pytest.mark.parametrize("deadline", ["soon", "2026-11-24T12:00:00", "5", ""])
async def test_a_deadline_that_is_no_time_is_refused(
    client: httpx.AsyncClient, publisher: FakePublisher, deadline: str
) -> None:
    answer = await client.post(PATH, content=BODY, headers={**JSON, "callback-deadline": deadline})
    assert answer.status_code == 422
    assert [detail["loc"] for detail in answer.json()["detail"]] == [["header", "callback-deadline"]]
    assert not publisher.records


@pytest.mark.parametrize("media_type", ["application/json; charset=utf-8", "Application/JSON", "application/ld+json"])
async def test_json_by_any_name_is_taken(client: httpx.AsyncClient, media_type: str) -> None:
    answer = await client.post(PATH, content=BODY, headers={"content-type": media_type})
    assert answer.status_code == 200


async def chunks(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b" " * 1_000


async def test_a_body_is_limited_whether_it_says_its_length_or_comes_in_chunks(
    client: httpx.AsyncClient, publisher: FakePublisher
) -> None:
    for content in (b" " * 10_001, chunks(11)):
        answer = await client.post(PATH, content=content, headers=JSON)
        assert_problem(answer, 413)
    assert not publisher.records


async def test_a_body_that_does_not_arrive_is_not_waited_for(client: httpx.AsyncClient) -> None:
    async def stuck() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    assert_problem(await client.post(PATH, content=stuck(), headers=JSON), 408)


async def test_what_was_refused_untried_says_when_to_come_again(
    client: httpx.AsyncClient, publisher: FakePublisher
) -> None:
    publisher.error = RefusedError("the broker does not answer", 7)
    answer = await client.post(PATH, content=BODY, headers=JSON)
    assert_problem(answer, 503)
    assert answer.headers["retry-after"] == "7"


async def test_an_unknown_outcome_names_the_task(client: httpx.AsyncClient, publisher: FakePublisher) -> None:
    publisher.error = OutcomeUnknownError("no acknowledgement in time")
    answer = await client.post(PATH, content=BODY, headers=JSON)
    assert UUID(assert_problem(answer, 500)["task_id"]).version == 7


async def test_a_record_that_kafka_may_not_take_is_too_large(
    client: httpx.AsyncClient, publisher: FakePublisher
) -> None:
    publisher.error = TooLargeError("4 MiB are allowed")
    assert_problem(await client.post(PATH, content=BODY, headers=JSON), 413)


async def test_a_bug_of_ours_is_a_problem_that_tells_no_secrets(
    client: httpx.AsyncClient, publisher: FakePublisher
) -> None:
    publisher.error = RuntimeError("the password is hunter2")
    answer = await client.post(PATH, content=BODY, headers=JSON)
    assert "hunter2" not in assert_problem(answer, 500)["detail"]


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nowhere", 404), ("GET", PATH, 405)])
async def test_a_wrong_path_or_method_is_a_problem_too(
    client: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    assert_problem(await client.request(method, path), status)


def assert_problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """Check the form of RFC 9457 and return the problem."""
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    return problem
