"""Whatever a receiver does, an attempt has an outcome, in time."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import httpx
import pytest

from stream_app.delivery import HttpDelivery
from stream_app.outcome import AnsweredError, Delivered, Failed, Outcome, Refused, Throttled, Unreachable
from tests.support.waiting import eventually
from tests.unit.records import CALLBACK_URL

PATIENT = timedelta(seconds=60)
AT_ONCE = timedelta(milliseconds=5)
KIB = 1_024


class Body(httpx.AsyncByteStream):
    """An answer's body; says how much of it was read, and whether its connection was given back."""

    def __init__(self, chunks: Callable[[], AsyncIterator[bytes]]) -> None:
        self._chunks = chunks
        self.read = 0
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._chunks():
            self.read += len(chunk)
            yield chunk

    async def aclose(self) -> None:
        self.closed = True


async def empty() -> AsyncIterator[bytes]:
    yield b""


async def breaking() -> AsyncIterator[bytes]:
    yield b"begun"
    raise httpx.ReadError("connection reset")


async def crawling() -> AsyncIterator[bytes]:
    yield b"begun"
    await asyncio.Event().wait()


async def flooding() -> AsyncIterator[bytes]:
    while True:
        yield b"x" * 16 * KIB


class Transport(httpx.AsyncBaseTransport):
    """Answers with a status and a body, raises an error, or, with neither, never answers."""

    def __init__(
        self, answer: int | Exception | None, body: Body | None = None, headers: dict[str, str] | None = None
    ) -> None:
        self._answer = answer
        self._headers = {"location": "http://inside.example/", **(headers or {})}
        self._body = body or Body(empty)
        self.requests: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if self._answer is None:
            await asyncio.Event().wait()
        if isinstance(self._answer, Exception):
            raise self._answer
        return httpx.Response(self._answer or 0, stream=self._body, headers=self._headers)


async def attempt(transport: Transport, url: str = CALLBACK_URL, deadline: timedelta = PATIENT) -> Outcome:
    return await HttpDelivery(transport, deadline).attempt(url, b'{"a": 1}', {"webhook-id": "t-1"})


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        *((status, Delivered(status)) for status in (200, 201, 204, 299)),
        (410, Refused()),
        *((status, Throttled(status)) for status in (429, 502, 504)),
        *((status, Failed(status)) for status in (101, 301, 302, 307, 400, 404, 500, 503, 999)),
    ],
)
async def test_the_status_is_the_outcome_and_one_request_is_sent(status: int, outcome: Outcome) -> None:
    transport = Transport(status)
    assert await attempt(transport) == outcome
    assert len(transport.requests) == 1


@pytest.mark.parametrize("status", [200, 410])
async def test_retry_after_changes_nothing_about_what_is_decided(status: int) -> None:
    transport = Transport(status, headers={"retry-after": "5"})
    assert isinstance(await attempt(transport), Delivered | Refused)


@pytest.mark.parametrize("status", [302, 404, 429, 500, 503])
async def test_whoever_says_when_to_come_again_is_throttling(status: int) -> None:
    transport = Transport(status, headers={"retry-after": "5"})
    assert await attempt(transport) == Throttled(status, timedelta(seconds=5))


async def test_a_retry_after_that_cannot_be_read_is_as_good_as_none() -> None:
    assert await attempt(Transport(503, headers={"retry-after": "soon"})) == Failed(503)


async def test_the_callback_is_posted_as_given() -> None:
    transport = Transport(200)
    await attempt(transport, f"{CALLBACK_URL}?a=%20b#c")
    (request,) = transport.requests
    assert (request.method, request.content, request.headers["webhook-id"]) == ("POST", b'{"a": 1}', "t-1")
    assert request.url == f"{CALLBACK_URL}?a=%20b#c"


@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError("Connection refused"),
        httpx.ReadError("connection reset"),
        httpx.RemoteProtocolError("no HTTP"),
        UnicodeError("label too long"),
        RuntimeError("whatever else"),
    ],
)
async def test_a_receiver_without_an_answer_is_unreachable(error: Exception) -> None:
    assert await attempt(Transport(error)) == Unreachable(f"{type(error).__name__}: {error}")


@pytest.mark.parametrize("url", ["http://☃.example/", "http://receiver.example:port/"])
async def test_a_url_that_cannot_be_dialled_is_unreachable(url: str) -> None:
    assert isinstance(await attempt(Transport(200), url), Unreachable)


async def test_a_receiver_that_hangs_is_given_up_at_the_deadline() -> None:
    assert await attempt(Transport(None), deadline=AT_ONCE) == Unreachable("no answer within 0.005 s")


@pytest.mark.parametrize("chunks", [empty, breaking, crawling, flooding])
@pytest.mark.parametrize(("status", "outcome"), [(200, Delivered(200)), (410, Refused()), (500, Failed(500))])
async def test_the_status_counts_whatever_the_body_does_and_the_connection_is_given_back(
    chunks: Callable[[], AsyncIterator[bytes]], status: int, outcome: Outcome
) -> None:
    body = Body(chunks)
    assert await attempt(Transport(status, body), deadline=AT_ONCE if chunks is crawling else PATIENT) == outcome
    assert body.closed


async def test_no_more_than_64_kib_of_an_answer_are_read() -> None:
    body = Body(flooding)
    await attempt(Transport(200, body))
    assert body.read == 64 * KIB


async def test_a_cancelled_attempt_has_no_outcome() -> None:
    attempting = asyncio.create_task(attempt(Transport(None)))
    await asyncio.sleep(0)
    attempting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempting


async def test_who_cancels_an_attempt_that_was_answered_learns_its_outcome() -> None:
    body = Body(crawling)
    task = asyncio.ensure_future(attempt(Transport(200, body)))
    await eventually(lambda: body.read)
    task.cancel()
    with pytest.raises(AnsweredError) as answered:
        await task
    assert answered.value.outcome == Delivered(200)


async def test_without_an_answer_an_attempt_that_is_cancelled_is() -> None:
    transport = Transport(None)
    task = asyncio.ensure_future(attempt(transport))
    await eventually(lambda: transport.requests)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
