"""What a fetch gives: the JSON that the API answered, or an error that the receiver can read."""

import asyncio
import gzip
import json
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
import structlog
from pydantic import JsonValue, ValidationError

from callstream.contract.messages import TaskRequest
from callstream.contract.raw_json import RawJson
from callstream.sharing.cut_short import CutShortError
from callstream.tasks import TaskContext, TaskError
from callstream.tasks.budget import Budget, Share, unlimited
from callstream.tasks.data import DataItem, fetch
from callstream.tasks.run import Limits, run_items
from tests.support.waiting import eventually
from tests.unit.entries import read_again
from tests.unit.executors import EXECUTORS
from tests.unit.records import CALLBACK_URL

URL = "http://api.example/data.json"
LIMIT = 1_000
MINUTE = timedelta(minutes=1)
Answer = Callable[[httpx.Request], httpx.Response]


def context(answer: Callable[[httpx.Request], Any]) -> TaskContext:
    return TaskContext(httpx.AsyncClient(transport=httpx.MockTransport(answer)), LIMIT)


def answering(body: bytes | list[bytes], status: int = 200, **headers: str) -> Answer:
    """Answer with a body that is streamed, as one from the network is."""

    async def chunks() -> AsyncIterator[bytes]:
        for chunk in [body] if isinstance(body, bytes) else body:
            yield chunk

    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: httpx.Response(status, headers=named, content=chunks())


def failing(error: Exception) -> Answer:
    def fail(_: httpx.Request) -> httpx.Response:
        raise error

    return fail


def item(**fields: Any) -> DataItem:
    return DataItem(**{"name": "api_0", "url": URL} | fields)


async def fetched(answer: Answer, share: Share | None = None, **fields: Any) -> Any:
    value = fetch.handler(item(**fields), replace(context(answer), answers=share or unlimited()))
    assert isinstance(value, Awaitable)
    found = await value
    assert isinstance(found, RawJson)
    return json.loads(found.data)


@pytest.mark.parametrize("value", [{"a": [1, 2.5, None, "ü"]}, [], 7, "text", None, False])
@pytest.mark.parametrize("encode", [bytes, gzip.compress])
async def test_the_json_that_the_api_answers_is_the_result(encode: Callable[[bytes], bytes], value: JsonValue) -> None:
    coding = "identity" if encode is bytes else "gzip"
    assert await fetched(answering(encode(json.dumps(value).encode()), content_encoding=coding)) == value


async def test_a_compressed_answer_may_come_in_pieces_of_any_size() -> None:
    body = gzip.compress(b'{"a": 1}')
    assert await fetched(answering([bytes([byte]) for byte in body], content_encoding="x-gzip")) == {"a": 1}


async def test_an_answer_that_is_cut_short_because_others_need_its_connection_is_fetched_once_more() -> None:
    async def begun() -> AsyncIterator[bytes]:
        yield b"{"
        raise CutShortError("the connection was needed for others")

    answers = iter([lambda _: httpx.Response(200, content=begun()), answering(b"[1]")])

    def answer(request: httpx.Request) -> httpx.Response:
        return next(answers)(request)

    budget = Budget(LIMIT)
    with budget.share() as share:
        assert await fetched(answer, share) == [1]
        assert share.held == len(b"[1]")


BOMB = gzip.compress(b"[" + b" " * 10_000_000 + b"]")


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (answering(b"{}", 400), "answered 400"),
        (answering(b"{}", 404), "answered 404"),
        (answering(b"{}", 503), "answered 503"),
        (answering(b"", 302, location=f"{URL}?again"), "not JSON"),
        (answering(b"", 204), "not JSON"),
        (answering(b"<html>"), "not JSON"),
        (answering(b'{"a": 1} {"b": 2}'), "not JSON"),
        (answering(b'"\xff"'), "not JSON"),
        (answering(b'"\\ud800"'), "not JSON"),
        (answering(b"[NaN]"), "not JSON"),
        (answering(b"[" * 400 + b"]" * 400), "not JSON"),
        (answering(b'"' + b"x" * LIMIT + b'"'), f"larger than {LIMIT} bytes"),
        (answering([b'"', *[b"x" * 100] * LIMIT]), f"larger than {LIMIT} bytes"),
        (answering(b"{}", content_encoding="gzip"), "not valid gzip"),
        (answering(gzip.compress(b'{"a": 1}')[:-12], content_encoding="gzip"), "not valid gzip: it is cut off"),
        (answering(gzip.compress(b"12345")[:-8], content_encoding="gzip"), "not valid gzip: it is cut off"),
        (answering([], content_encoding="gzip"), "not valid gzip: it is cut off"),
        (answering(gzip.compress(b"{}") + b"\0", content_encoding="gzip"), "not valid gzip: it goes on"),
        (answering([gzip.compress(b"{}"), b"\0"], content_encoding="gzip"), "not valid gzip: it goes on"),
        (answering([gzip.compress(b"{}")] * 2, content_encoding="gzip"), "not valid gzip: it goes on"),
        (answering(gzip.compress(gzip.compress(b"{}")), content_encoding="gzip, gzip"), "encoded as 'gzip, gzip'"),
        (answering(zlib.compress(b"{}"), content_encoding="deflate"), "encoded as 'deflate'"),
        (answering(b"{}", content_encoding="br"), "encoded as 'br'"),
        (failing(httpx.ConnectError("Connection refused")), "cannot be reached: Connection refused"),
        (failing(httpx.ReadError("")), "cannot be reached: ReadError"),
        (failing(httpx.RemoteProtocolError("no HTTP")), "cannot be reached: no HTTP"),
    ],
)
async def test_an_answer_that_is_of_no_use_is_a_readable_error(answer: Answer, text: str) -> None:
    with pytest.raises(TaskError, match=text):
        await fetched(answer)


async def test_no_more_of_an_answer_is_read_than_the_limit() -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1
            yield b"x" * (LIMIT // 2)

    with pytest.raises(TaskError, match="larger than"):
        await fetched(lambda _: httpx.Response(200, content=endless()))
    assert sent == 3


@pytest.mark.parametrize(
    ("start", "rest"),
    [
        (gzip.compress(b"1"), bytes(1_000)),
        (gzip.compress(b"")[:10], b"\0\0\0\xff\xff" * 200),  # blocks of nothing
        (gzip.compress(b"")[:3] + b"\x10" + bytes(6), b"a" * 1_000),  # a comment
    ],
    ids=["behind the end", "empty blocks", "comment"],
)
async def test_no_more_of_an_answer_is_read_than_could_be_its_limit_encoded(start: bytes, rest: bytes) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        yield start
        while sent < 1_000_000:
            sent += len(rest)
            yield rest

    headers = {"content-encoding": "gzip"}
    with pytest.raises(TaskError, match=r"larger than|goes on behind"):
        await fetched(lambda _: httpx.Response(200, headers=headers, content=endless()))
    assert sent < 20_000


async def test_a_small_answer_that_would_become_a_large_one_is_never_inflated_whole() -> None:
    tracemalloc.start()
    try:
        with pytest.raises(TaskError, match=f"larger than {LIMIT} bytes"):
            await fetched(answering(BOMB, content_encoding="gzip"))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000  # bytes, most of them for the client itself


@pytest.mark.parametrize(
    "url",
    [
        "",
        "data.json",
        "/data.json",
        "//api.example/data.json",
        "ftp://api.example/",
        "file:///etc/passwd",
        "http://",
        "http:///data.json",
        "http://api.example:99999/",
        "http://api.example:0/",
        "http://api.example:port/",
        "http://api example/",
        "http://[::1/",
        "http://api.example/\x00",
        "http://☃.example/",
        f"http://{'x' * 64}.example/",
        f"http://{'x.' * 130}example/",
    ],
)
async def test_a_url_that_cannot_be_used_is_a_readable_error_and_nothing_is_sent(url: str) -> None:
    with pytest.raises(TaskError, match="url cannot be used"):
        await fetched(failing(AssertionError("sent")), url=url)


@pytest.mark.parametrize(
    ("name", "value"),
    [("bad\nname", "x"), ("bad name", "x"), ("", "x"), ("ü", "x"), ("x", "a\r\nhost: b"), ("x", "\x00"), ("x", "ü")],
)
async def test_a_header_that_http_does_not_allow_is_a_readable_error_and_nothing_is_sent(name: str, value: str) -> None:
    with pytest.raises(TaskError, match=r"the header .* cannot be sent"):
        await fetched(failing(AssertionError("sent")), headers={name: value})


@pytest.mark.parametrize(
    "name",
    [
        *("Content-Length", "transfer-encoding", "CONNECTION", "Host", "Expect", "TE", "Trailer", "Upgrade"),
        *("Keep-Alive", "Proxy-Authorization", "proxy-connection", "HTTP2-Settings"),
    ],
)
async def test_a_header_that_frames_the_request_is_a_readable_error_and_nothing_is_sent(name: str) -> None:
    with pytest.raises(TaskError, match=f"the header '{name}' cannot be sent: it belongs to the connection"):
        await fetched(failing(AssertionError("sent")), headers={name: "1"})


async def test_the_headers_of_a_request_are_made_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """For each header that is set httpx looks through all: those of one item took the loop for minutes."""
    looks = 0
    look = httpx.Headers.__setitem__

    def counted(headers: httpx.Headers, name: str, value: str) -> None:
        nonlocal looks
        looks += 1
        look(headers, name, value)

    monkeypatch.setattr(httpx.Headers, "__setitem__", counted)
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return answering(b"1")(request)

    headers = {f"x-{number}": str(number) for number in range(100)}
    assert await fetched(answer, headers=headers) == 1
    assert sent[0].headers.items() >= headers.items()
    assert looks < 10


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"headers": {f"{number:x}": "" for number in range(95_000)}}, "at most 100 headers, and not 95000"),
        ({"headers": {f"{number:x}": [] for number in range(101)}}, "at most 100 headers"),
        ({"headers": {"a": "x" * 8_192, "b": "x" * 8_192}}, "at most 16384 characters"),
        ({"headers": {"x" * 16_385: ""}}, "at most 16384 characters"),
        ({"url": "http://api.example/" + "x" * 8_192}, "at most 8192 characters"),
        ({"url": "http://api.example/" + "ü" * 501}, "at most 1000 bytes that are to be quoted, and not 1002"),
        ({"url": "http://api.example/?" + "<" * 1_001}, "at most 1000 bytes that are to be quoted"),
        ({"url": f"http://{'=' * 1_001}@api.example/"}, "at most 1000 bytes that are to be quoted"),
        ({"name": "x" * 1_025}, "at most 1024 characters"),
    ],
    ids=["headers", "wrong headers", "values", "names", "url", "international url", "odd url", "odd user", "name"],
)
def test_what_an_item_holds_is_bounded_and_refused_by_one_error(fields: dict[str, Any], text: str) -> None:
    message = [{"name": "a", "url": URL} | fields]
    with pytest.raises(ValidationError) as error:
        TaskRequest[DataItem].model_validate_json(json.dumps({"callback_url": CALLBACK_URL, "message": message}))
    assert error.value.error_count() == 1
    assert text in error.value.errors()[0]["msg"]


def test_the_bounds_of_an_item_are_told_in_its_schema() -> None:
    fields = DataItem.model_json_schema()["properties"]
    assert (fields["name"]["maxLength"], fields["url"]["maxLength"]) == (1_024, 8_192)
    assert fields["headers"]["maxProperties"] == 100
    assert "16384 characters" in fields["headers"]["description"]


async def test_an_item_may_be_as_large_as_its_bounds() -> None:
    headers = {f"{number:0100}": "x" * 63 for number in range(100)}
    assert await fetched(answering(b"1"), name="x" * 1_024, url=f"{URL}?".ljust(8_192, "x"), headers=headers) == 1


def test_headers_that_wait_take_no_more_than_they_took_in_the_request() -> None:
    """1,000 items may have 100 each: as texts in dicts those of one body are 10 MiB."""
    item = {"name": "", "url": "", "headers": {f"{number:x}": "" for number in range(100)}}
    value = json.dumps({"message": [item] * 500}, separators=(",", ":")).encode()
    tracemalloc.start()
    try:
        request = TaskRequest[DataItem].model_validate_json(value)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(request.message[0].headers.unpacked()) == 100
    assert held < 3 * len(value)


@pytest.mark.parametrize(
    ("fields", "method", "body", "content_type"),
    [
        ({"payload": {"a": 1}}, "GET", b"", None),
        ({"method": "POST", "payload": {"a": 1}}, "POST", b'{"a":1}', "application/json"),
        ({"method": "POST", "payload": [{"a": "ü"}]}, "POST", '[{"a":"ü"}]'.encode(), "application/json"),
        ({"method": "POST"}, "POST", b"{}", "application/json"),
        ({"method": "POST", "headers": {"Content-Type": "text/json"}}, "POST", b"{}", "text/json"),
    ],
)
async def test_the_payload_is_sent_as_json_on_post_only(
    fields: dict[str, Any], method: str, body: bytes, content_type: str | None
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert (request.method, request.content) == (method, body)
        assert request.headers.get("content-type") == content_type
        return answering(b"1")(request)

    assert await fetched(answer, **fields) == 1


async def test_the_items_headers_are_sent_and_win() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return answering(json.dumps([request.headers["X-Key"], request.headers["user-agent"]]).encode())(request)

    headers = {"X-KEY": "first", "x-key": "k", "User-Agent": "mine"}
    assert await fetched(answer, headers=headers) == ["k", "mine"]


async def test_a_redirect_is_not_followed() -> None:
    asked: list[httpx.URL] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url)
        return answering(b'{"moved": true}', 307, location="http://inside.example/")(request)

    assert await fetched(answer) == {"moved": True}
    assert asked == [URL]


async def test_items_are_fetched_at_once_within_the_bound() -> None:
    under_way = 0
    go_on = asyncio.Event()

    async def answer(request: httpx.Request) -> httpx.Response:
        nonlocal under_way
        under_way += 1
        await go_on.wait()
        return answering(request.url.path.encode().removeprefix(b"/"))(request)

    work = [item(name=f"api_{number}", url=f"http://api.example/{number}") for number in range(5)]
    running = asyncio.create_task(run_items(fetch, work, context(answer), Limits(3, MINUTE, MINUTE), EXECUTORS))
    await eventually(lambda: under_way == 3)
    go_on.set()
    assert read_again(await running).results == [{f"api_{number}": number} for number in range(5)]


async def failures_told(
    answer: Callable[[httpx.Request], Any], work: list[DataItem], limits: Limits | None = None
) -> list[Any]:
    """Run a task, and return the lines about fetches that failed."""
    limits = limits or Limits(1, MINUTE, MINUTE)
    with structlog.testing.capture_logs() as logs:
        await run_items(fetch, work, replace(context(answer), task_id="t-1"), limits, EXECUTORS)
    return [line for line in logs if line["event"] == "fetch.failed"]


async def test_the_host_of_a_fetch_that_hangs_is_named_and_nothing_else_of_its_url() -> None:
    async def hang(_: httpx.Request) -> httpx.Response:
        return await asyncio.Future()

    work = [item(url="https://user:secret@API.Example:8443/path/secret?token=secret#secret")]
    (line,) = await failures_told(hang, work, Limits(1, timedelta(milliseconds=10), MINUTE))
    assert isinstance(line.pop("seconds"), float)
    assert line == {
        "event": "fetch.failed",
        "log_level": "info",
        "task_id": "t-1",
        "item": "api_0",
        "host": "api.example",
        "what": "no result within 0.01 s",
    }


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (answering(b"", 503), "the API answered 503"),
        (answering(b"/secret"), "the API's answer is not JSON"),
        (answering(b"", content_encoding="/secret"), "the API's answer is encoded as"),
        (failing(httpx.ConnectError("refused: Connection refused")), "the API cannot be reached: refused"),
        (failing(httpx.ReadError("400, url=http://api.example/secret")), "the API cannot be reached"),
        (
            failing(httpx.RemoteProtocolError("ClientResponseError: 400, url='http://api.example/secret'")),
            "the API cannot be reached: ClientResponseError",
        ),
    ],
)
async def test_what_is_told_of_a_fetch_that_failed_repeats_nobody(answer: Answer, what: str) -> None:
    assert [line["what"] for line in await failures_told(answer, [item()])] == [what]


async def test_a_task_tells_of_each_host_once_and_of_few() -> None:
    urls = [f"http://{number % 500}.api.example/{number}" for number in range(1_000)]
    told = await failures_told(answering(b"", 500), [item(name="n" * 300, url=url) for url in sorted(urls)])
    assert len({line["host"] for line in told}) == len(told) == 10
    assert {len(line["item"]) for line in told} == {100}
    same = await failures_told(answering(b"", 500), [item(url=f"{URL}?{number}") for number in range(20)])
    assert len(same) == 1


@pytest.mark.parametrize("url", ["/no/host", "http://", "ftp:secret", "http://user:secret", "http://a\\secret/"])
async def test_what_names_no_host_is_told_of_none(url: str) -> None:
    assert await failures_told(answering(b"{}"), [item(url=url)]) == []


async def test_an_item_for_which_no_time_was_left_accuses_no_host() -> None:
    async def hang(_: httpx.Request) -> httpx.Response:
        return await asyncio.Future()

    work = [item(url=f"http://{number}.api.example/") for number in range(5)]
    told = await failures_told(hang, work, Limits(1, MINUTE, timedelta(milliseconds=50)))
    assert [(line["host"], line["what"]) for line in told] == [
        ("0.api.example", "the task was not finished within 0.05 s")
    ]


async def test_an_answer_with_a_number_beyond_any_float_is_an_entry() -> None:
    limits = Limits(1, MINUTE, MINUTE)
    entries = read_again(await run_items(fetch, [item()], context(answering(b"[1e999]")), limits, EXECUTORS))
    assert entries.results == []
    assert "not JSON" in str(entries.errors[0]["api_0"])


@pytest.mark.parametrize(
    "payload", ['{"a": NaN}', '{"a": 1e999}', '[{"a": [-Infinity]}]', "[1]", '"text"', '{"a": "\\ud800"}']
)
def test_a_payload_that_could_not_be_sent_as_json_is_refused(payload: str) -> None:
    raw = f'{{"callback_url": "{CALLBACK_URL}", "message": [{{"name": "a", "url": "{URL}", "payload": {payload}}}]}}'
    with pytest.raises(ValidationError):
        TaskRequest[DataItem].model_validate_json(raw)


async def test_credentials_in_a_url_are_sent_as_a_header_and_not_in_the_url() -> None:
    requests: list[httpx.Request] = []

    def keep(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return answering(b"1")(request)

    assert await fetched(keep, url="http://me:s%40crt@api.example/") == 1
    (request,) = requests
    assert request.headers["authorization"] == "Basic bWU6c0BjcnQ="
    assert str(request.url) == "http://api.example/"


async def test_an_answer_takes_room_as_it_comes_and_what_fails_gives_it_back() -> None:
    budget = Budget(10 * LIMIT)
    answers = [b'"' + b"x" * 100 + b'"', b"not json", b"x" * (LIMIT + 1)]
    with budget.share() as share:
        for answer, used in zip(answers, (102, 102, 102), strict=True):
            with suppress(TaskError):
                await fetched(answering([answer[:50], answer[50:]]), share)
            assert budget.used == used


async def test_a_fetch_that_finds_no_room_reads_no_further_until_there_is() -> None:
    read = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        for piece in (b"[1,", b"2", b"]"):
            read += 1
            yield piece

    budget = Budget(LIMIT)
    with budget.share() as lead, budget.share() as first, budget.share() as second:
        await lead.take(LIMIT + 1)
        await first.take(LIMIT)
        fetching = asyncio.create_task(fetched(lambda _: httpx.Response(200, content=body()), second))
        await eventually(lambda: budget.is_waited_for)
        assert read == 1
        first.give(LIMIT)
        assert await fetching == [1, 2]


async def test_what_the_api_answered_is_passed_on_as_it_came() -> None:
    answer = b'{ "a": 1.00000000000000000001,\n "a": [1e2] }'
    value = fetch.handler(item(), context(answering(answer)))
    assert isinstance(value, Awaitable)
    assert await value == RawJson(answer)


def test_a_payload_is_kept_as_json_and_not_as_objects() -> None:
    assert item(payload=[{"a": [1, "ü"]}]).payload == RawJson('[{"a":[1,"ü"]}]'.encode())
    assert item().payload == RawJson(b"{}")


async def test_large_answers_that_come_to_no_end_leave_small_ones_their_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callstream.tasks.budget._SMALL", 10)

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 10

    budget = Budget(LIMIT)
    with budget.share() as lead, budget.share() as large, budget.share() as small:
        await lead.take(LIMIT + 1)
        endless_one = asyncio.create_task(fetched(lambda _: httpx.Response(200, content=endless()), large))
        await eventually(lambda: budget.is_waited_for)
        assert await fetched(answering(b"[1]"), small) == [1]
        assert not endless_one.done()
        endless_one.cancel()
        await asyncio.wait([endless_one])
        assert budget.used == lead.held + len(b"[1]")


async def test_an_items_time_does_not_go_on_while_its_fetch_waits_for_room() -> None:
    stopped = []

    @contextmanager
    def waiting() -> Iterator[None]:
        stopped.append("stopped")
        yield
        stopped.append("goes on")

    budget = Budget(LIMIT)
    with budget.share() as lead, budget.share() as first, budget.share() as second:
        await lead.take(LIMIT + 1)
        await first.take(LIMIT)
        one = replace(context(answering(b"[1]")), answers=second, waiting=waiting)
        value = fetch.handler(item(), one)
        assert isinstance(value, Awaitable)
        fetching = asyncio.ensure_future(value)
        await eventually(lambda: budget.is_waited_for)
        assert stopped == ["stopped"]
        first.give(LIMIT)
        await fetching
        assert stopped == ["stopped", "goes on"]


def answering_again(body: bytes) -> Answer:
    def answer(request: httpx.Request) -> httpx.Response:
        return answering(body)(request)

    return answer


@pytest.mark.parametrize("good", [True, False])
async def test_large_answers_are_checked_one_at_a_turn_of_the_loop(
    monkeypatch: pytest.MonkeyPatch, *, good: bool
) -> None:
    turns, checked = 0, []

    def check(_: bytes) -> None:
        checked.append(turns)
        if not good:
            raise ValueError("it is none")

    async def turn() -> None:
        nonlocal turns
        while len(checked) < 10:
            turns += 1
            await asyncio.sleep(0)

    monkeypatch.setattr("callstream.tasks.data.check_json", check)
    body = b'"' + b"x" * 5_000 + b'"'
    many = replace(context(answering_again(body)), fetch_limit=10_000)
    running = run_items(fetch, [item()] * 10, many, Limits(10, MINUTE, MINUTE), EXECUTORS)
    await asyncio.gather(running, turn())
    assert len(set(checked)) == 10
