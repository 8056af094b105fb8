"""The receiver's HTTP side, without a socket."""

import io
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from rich.console import Console

from receiver.app import create_app

CALLBACK = {"results": [{"calc_0": 123.76}], "errors": [], "task_id": "t-1"}


class Receiver:
    """The application, a client of it and what it shows."""

    def __init__(self, client: httpx.AsyncClient, screen: io.StringIO) -> None:
        self._client = client
        self._screen = screen

    @property
    def shown(self) -> str:
        return self._screen.getvalue()

    async def call_back(self, content: bytes | None = None, **options: Any) -> httpx.Response:
        body = {"json": CALLBACK} if content is None else {"content": content}
        return await self._client.post("/test-me", **body, **options)

    async def behave(self, **orders: Any) -> httpx.Response:
        return await self._client.post("/behave", json=orders)

    async def get(self, path: str) -> Any:
        answer = await self._client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def status_of(self, path: str) -> int:
        return (await self._client.get(path)).status_code


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    screen = io.StringIO()
    app = create_app(Console(file=screen, width=100, force_terminal=True, color_system=None))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://receiver") as client:
        yield Receiver(client, screen)


async def test_large_callbacks_are_kept_up_to_a_mebibyte_together_and_the_last_always(receiver: Receiver) -> None:
    for number in range(5):
        await receiver.call_back(b'"%s"' % (b"a" * 300 * 1024), headers={"webhook-id": f"t-{number}"})
    assert [call["task_id"] for call in await receiver.get("/received")] == ["t-2", "t-3", "t-4"]
    await receiver.call_back(b'"%s"' % (b"a" * (2**20 - 2)), headers={"webhook-id": "whole"})
    assert [call["task_id"] for call in await receiver.get("/received")] == ["whole"]


async def test_a_callback_is_shown_and_kept(receiver: Receiver) -> None:
    answer = await receiver.call_back(headers={"webhook-id": "t-1", "X-Trace": "7"})
    assert answer.status_code == 200
    assert '"calc_0": 123.76' in receiver.shown
    (kept,) = await receiver.get("/received")
    assert kept["body"] == CALLBACK
    assert kept["task_id"] == "t-1"
    assert kept["headers"]["x-trace"] == "7"
    assert kept["received_at"].endswith("Z")


async def test_the_calls_of_a_task_are_told_in_their_order(receiver: Receiver) -> None:
    for number, task_id in enumerate(["a/b", "other", "a/b"]):
        await receiver.call_back(str(number).encode(), headers={"webhook-id": task_id})
    assert [call["body"] for call in await receiver.get("/received/a/b")] == [0, 2]


async def test_a_callback_without_the_header_is_found_by_its_body(receiver: Receiver) -> None:
    await receiver.call_back()
    assert len(await receiver.get("/received/t-1")) == 1


async def test_an_unknown_task_is_not_found(receiver: Receiver) -> None:
    await receiver.call_back()
    assert await receiver.status_of("/received/unknown") == 404


async def test_the_last_thousand_are_kept(receiver: Receiver) -> None:
    for number in range(1_001):
        await receiver.call_back(str(number).encode())
    bodies = [call["body"] for call in await receiver.get("/received")]
    assert bodies == list(range(1, 1_001))


@pytest.mark.parametrize(
    "content",
    [b"", b"no json", b"\xff\xfe", b"NaN", b'"\\ud800"', b"[" * 5_000, b"9" * 5_000],
    ids=["empty", "text", "bytes", "nan", "surrogate", "deep", "huge"],
)
async def test_what_is_not_json_is_kept_as_text(receiver: Receiver, content: bytes) -> None:
    assert (await receiver.call_back(content)).status_code == 200
    (kept,) = await receiver.get("/received")
    assert kept["body"] == content.decode(errors="replace")
    assert kept["task_id"] is None


async def test_a_number_beyond_floats_does_no_harm(receiver: Receiver) -> None:
    assert (await receiver.call_back(b"1e999")).status_code == 200
    assert len(await receiver.get("/received")) == 1


@pytest.mark.parametrize("content", [b"[bold]hi[/nobody]", b'{"task_id": "[/]", "a": "[link=x]y"}'])
async def test_markup_is_shown_as_it_came(receiver: Receiver, content: bytes) -> None:
    await receiver.call_back(content)
    shown = "[bold]hi[/nobody]" if content.startswith(b"[") else "[link=x]y"
    assert shown in receiver.shown


@pytest.mark.parametrize("content", [b"\x1b[2J\x9b\r\x07", b'{"task_id": "\\u001b[2J\\u202e\\u009b"}'])
async def test_no_control_character_reaches_the_terminal(receiver: Receiver, content: bytes) -> None:
    await receiver.call_back(content)
    assert not set(receiver.shown) & set("\x1b\x9b\r\x07\u202e")
    assert r"\x1b[2J" in receiver.shown


async def test_a_long_body_is_kept_whole_and_shown_in_part(receiver: Receiver) -> None:
    await receiver.call_back(b"x" * 5_000)
    assert "... and 1000 characters more" in receiver.shown
    assert (await receiver.get("/received"))[0]["body"] == "x" * 5_000


async def test_a_body_beyond_the_limit_is_refused(receiver: Receiver) -> None:
    assert (await receiver.call_back(b"x" * 2**20)).status_code == 200
    assert (await receiver.call_back(b"x" * (2**20 + 1))).status_code == 413
    assert len(await receiver.get("/received")) == 1


async def test_it_answers_as_it_was_told_until_it_is_told_otherwise(receiver: Receiver) -> None:
    await receiver.behave(status=503, headers={"Retry-After": "7"})
    for _ in range(2):
        answer = await receiver.call_back()
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "7")
    await receiver.behave()
    assert (await receiver.call_back()).status_code == 200


async def test_it_is_back_to_normal_after_so_many_calls(receiver: Receiver) -> None:
    await receiver.behave(status=302, headers={"Location": "http://elsewhere/"}, times=2)
    assert [(await receiver.call_back()).status_code for _ in range(3)] == [302, 302, 200]


@pytest.mark.parametrize(
    "orders",
    [
        {"status": 99},
        {"status": 100},
        {"status": 600},
        {"status": "teapot"},
        {"wait": -1},
        {"wait": 1e9},
        {"times": 0},
        {"hang": True, "drop": True},
        {"hang": True, "status": 500},
        {"drop": True, "headers": {"Retry-After": "1"}},
        {"headers": {"Content-Length": "7"}},
        {"headers": {"a b": "c"}},
        {"headers": {"a": "b\r\nc: d"}},
        {"vanish": True},
    ],
    ids=str,
)
async def test_a_nonsensical_order_is_refused_and_changes_nothing(receiver: Receiver, orders: dict[str, Any]) -> None:
    assert (await receiver.behave(**orders)).status_code == 422
    assert (await receiver.call_back()).status_code == 200


async def test_there_is_a_sample_to_fetch(receiver: Receiver) -> None:
    assert (await receiver.get("/sample.json"))["readings"]
