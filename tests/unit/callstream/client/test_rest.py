"""What the gateway answers, as a client of it sees it."""

import json
from collections.abc import Callable
from datetime import UTC, datetime

import httpx
import pytest

from callstream.client import Callstream, ClientError, InvalidError, OutcomeUnknownError, RefusedError
from callstream.contract.messages import Accepted, JobResponseStructure
from callstream.tasks.calculation import CalculationItem
from tests.unit.records import CALLBACK_URL

ITEM = {"name": "sum", "num_1": 1.0, "num_2": 2.0, "operation": "+", "result_rounding": 0}
ACCEPTED = Accepted(task_id="t-1", async_job_response_structure=JobResponseStructure(task_id="t-1"))
PROBLEM = {"title": "no", "status": 500, "detail": "so it is"}
Answer = Callable[[httpx.Request], httpx.Response]


def client(answer: Answer, **paths: str) -> Callstream:
    http = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    return Callstream.over_rest("http://gateway.example/", paths=paths, http=http)


def accepting(seen: list[httpx.Request]) -> Answer:
    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, content=ACCEPTED.model_dump_json())

    return answer


async def submitted(answer: Answer) -> ClientError:
    async with client(answer) as callstream:
        with pytest.raises(ClientError) as error:
            await callstream.submit("calculation", message=[ITEM], callback_url=CALLBACK_URL)
        return error.value


@pytest.mark.parametrize("item", [ITEM, CalculationItem.model_validate(ITEM)])
async def test_a_task_is_posted_to_its_path_with_all_that_was_asked_for(item: CalculationItem) -> None:
    seen: list[httpx.Request] = []
    async with client(accepting(seen)) as callstream:
        task_id = await callstream.submit(
            "calculation",
            message=[item],
            callback_url=CALLBACK_URL,
            idempotency_key="order-4711",
            callback_deadline=datetime(2026, 1, 1, tzinfo=UTC),
        )
    (request,) = seen
    assert task_id == "t-1"
    assert str(request.url) == "http://gateway.example/v1/calculation/basic"
    assert json.loads(request.content) == {"callback_url": CALLBACK_URL, "message": [ITEM]}
    assert request.headers["content-type"] == "application/json"
    assert request.headers["idempotency-key"] == "order-4711"
    assert request.headers["callback-deadline"] == "2026-01-01T00:00:00+00:00"


async def test_what_was_not_asked_for_is_not_sent() -> None:
    seen: list[httpx.Request] = []
    async with client(accepting(seen)) as callstream:
        await callstream.submit("calculation", message=[])
    assert json.loads(seen[0].content) == {"message": []}
    assert not {"idempotency-key", "callback-deadline"} & seen[0].headers.keys()


async def test_a_task_type_that_is_not_installed_goes_to_the_path_that_is_given() -> None:
    seen: list[httpx.Request] = []
    async with client(accepting(seen), lookup="/v1/lookup") as callstream:
        await callstream.submit("lookup", message=[{"name": "a"}], callback_url=CALLBACK_URL)
        with pytest.raises(InvalidError, match=r"task\.foreign: its path is not known"):
            await callstream.submit("foreign", message=[], callback_url=CALLBACK_URL)
    assert [request.url.path for request in seen] == ["/v1/lookup"]


async def test_a_deadline_without_a_time_zone_is_the_callers_mistake() -> None:
    async with client(accepting([])) as callstream:
        with pytest.raises(ValueError, match="time zone"):
            await callstream.submit("calculation", message=[], callback_deadline=datetime(2026, 1, 1))  # noqa: DTZ001


async def test_422_tells_every_detail() -> None:
    detail = {
        "type": "missing",
        "loc": ["body", "message", 0, "num_1"],
        "msg": "Field required",
        "input": {"name": "a"},
    }
    error = await submitted(lambda _: httpx.Response(422, json={"detail": [detail]}))
    assert isinstance(error, InvalidError)
    assert [found.model_dump(mode="json") for found in error.details] == [detail]
    assert str(error) == "body.message.0.num_1: Field required"


@pytest.mark.parametrize(
    ("status", "body", "text"),
    [(413, PROBLEM, "body: so it is"), (422, PROBLEM, "body: so it is"), (422, ["?"], r'body: \["\?"\]')],
)
async def test_a_request_that_must_be_mended_is_invalid_whatever_tells_so(status: int, body: object, text: str) -> None:
    error = await submitted(lambda _: httpx.Response(status, json=body))
    assert isinstance(error, InvalidError)
    assert len(error.details) == 1
    with pytest.raises(InvalidError, match=text):
        raise error


@pytest.mark.parametrize(
    ("status", "headers", "retry_after"),
    [
        (503, {"retry-after": "5"}, 5),
        (429, {"retry-after": "soon"}, None),
        (408, {}, None),
        (401, {}, None),
        (307, {}, None),
    ],
)
async def test_an_answer_that_says_no_is_a_refusal_with_the_time_to_wait(
    status: int, headers: dict[str, str], retry_after: int | None
) -> None:
    error = await submitted(lambda _: httpx.Response(status, headers=headers, json=PROBLEM))
    assert isinstance(error, RefusedError)
    assert (str(error), error.retry_after) == (f"the gateway answered {status}: so it is", retry_after)


@pytest.mark.parametrize(
    ("status", "body", "task_id"),
    [(500, {**PROBLEM, "task_id": "t-1"}, "t-1"), (502, "<html>", None), (503, "<html>", None), (200, "<html>", None)],
)
async def test_where_a_task_may_have_been_stored_the_outcome_is_unknown(
    status: int, body: object, task_id: str | None
) -> None:
    error = await submitted(lambda _: httpx.Response(status, json=body))
    assert isinstance(error, OutcomeUnknownError)
    assert error.task_id == task_id


@pytest.mark.parametrize("status", [200, 422])
async def test_an_answer_in_an_encoding_that_is_none_for_texts_is_shown_all_the_same(status: int) -> None:
    headers = {"content-type": "text/html; charset=hex"}
    error = await submitted(lambda _: httpx.Response(status, headers=headers, content="<p>gr\u00fcn</p>".encode()))
    assert "<p>gr\u00fcn</p>" in str(error)


def test_a_url_that_is_none_is_told_at_once() -> None:
    with pytest.raises(ValueError, match="the gateway's url cannot be used"):
        Callstream.over_rest("http://[::1")


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (httpx.ConnectError, RefusedError),
        (httpx.ConnectTimeout, RefusedError),
        (httpx.ReadTimeout, OutcomeUnknownError),
        (httpx.RemoteProtocolError, OutcomeUnknownError),
    ],
)
async def test_a_connection_that_fails_is_a_refusal_only_where_nothing_was_sent(
    failure: type[httpx.TransportError], kind: type[ClientError]
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise failure("no", request=request)

    assert type(await submitted(answer)) is kind


async def test_a_client_that_was_brought_stays_open() -> None:
    async with httpx.AsyncClient(transport=httpx.MockTransport(accepting([]))) as http:
        async with Callstream.over_rest("http://gateway.example", http=http):
            pass
        assert not http.is_closed
