"""The examples of the service that Callstream succeeds, byte for byte, and the errors that its clients may meet."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from tests.support.pipeline import Pipeline
from tests.support.receiver import Receiver
from tests.support.waiting import eventually, free_port

pytestmark = pytest.mark.asyncio(loop_scope="session")

CALCULATION = b"""{
      "callback_url": "https://qju5rcoarg6a4bpxjf3joj3x7y0cfyfk.lambda-url.eu-west-1.on.aws/",
      "message": [
        {
          "name": "calc_0",
          "num_1": 123,
          "num_2": 0.75647,
          "operation": "+",
          "result_rounding": 2
        },
        {
          "name": "calc_1",
          "num_1": 785687256,
          "num_2": 0.75647,
          "operation": "-",
          "result_rounding": 4
        }
      ]
    }"""
ITS_RECEIVER = b"https://qju5rcoarg6a4bpxjf3joj3x7y0cfyfk.lambda-url.eu-west-1.on.aws/"
ITS_CALLBACK = """{
   "results": [
   {
   "calc_0": 123.76
   },
    {
   "calc_1": 785687255.2435
   }
   ],
   "errors": [

   ]
   }"""


async def callback(pipeline: Pipeline, receiver: Receiver, path: str, body: bytes) -> dict[str, Any]:
    """Submit `body`, check the answer and return the callback's body without its task_id."""
    headers = {"content-type": "application/json"}
    async with pipeline.session.post(pipeline.url + path, data=body, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        accepted = await answer.json()
    task_id = accepted.pop("task_id")
    assert accepted == {
        "message": "Processing of your request has started",
        "async_job_response_structure": {"results": [{}], "errors": [{}], "task_id": task_id},
    }
    await eventually(lambda: task_id in receiver.bodies, 20, pipeline.callbacks.log_tail)
    found = dict(receiver.bodies[task_id])
    assert found.pop("task_id") == task_id
    return found


async def test_the_seeds_calculation_is_answered_as_its_readme_says(pipeline: Pipeline, receiver: Receiver) -> None:
    body = CALCULATION.replace(ITS_RECEIVER, receiver.url.encode())
    found = await callback(pipeline, receiver, "/v1/calculation/basic", body)
    assert found == json.loads(ITS_CALLBACK)


async def test_an_items_failure_is_an_entry_and_the_others_go_on(pipeline: Pipeline, receiver: Receiver) -> None:
    item = {"num_1": 1, "num_2": 0, "operation": "/", "result_rounding": 1}
    items = [{**item, "name": "same"}, {**item, "name": "sum", "operation": "+"}, {**item, "name": "same"}]
    body = json.dumps({"callback_url": receiver.url, "message": items}).encode()
    found = await callback(pipeline, receiver, "/v1/calculation/basic", body)
    assert found == {
        "results": [{"sum": 1.0}],
        "errors": [{"same": "division by zero"}, {"same": "division by zero"}],
    }


async def test_data_is_fetched_by_get_and_post_and_what_fails_says_why(pipeline: Pipeline, receiver: Receiver) -> None:
    async with api() as url:
        items = [
            {"name": "got", "url": f"{url}/echo"},
            {"name": "posted", "url": f"{url}/echo", "method": "POST", "headers": {"x-a": "b"}, "payload": [{"c": 1}]},
            {"name": "missing", "url": f"{url}/nowhere"},
            {"name": "text", "url": f"{url}/text"},
            {"name": "slow", "url": f"{url}/slow"},
            {"name": "refused", "url": f"http://127.0.0.1:{free_port()}/"},
            {"name": "nonsense", "url": "not a url"},
        ]
        body = json.dumps({"callback_url": receiver.url, "message": items}).encode()
        found = await callback(pipeline, receiver, "/v1/data/from-api", body)
    assert found["results"] == [
        {"got": {"method": "GET", "x-a": None, "body": ""}},
        {"posted": {"method": "POST", "x-a": "b", "body": '[{"c":1}]'}},
    ]
    texts = {name: text for entry in found["errors"] for name, text in entry.items()}
    assert list(texts) == ["missing", "text", "slow", "refused", "nonsense"]
    assert texts["missing"] == "the API answered 404"
    assert texts["text"].startswith("the API's answer is not JSON")
    assert texts["slow"] == "no result within 2 s"
    assert texts["refused"].startswith("the API cannot be reached")
    assert texts["nonsense"].startswith("the url cannot be used")


@asynccontextmanager
async def api() -> AsyncIterator[str]:
    """Run an API to fetch from."""
    stopping = asyncio.Event()

    async def echo(request: web.Request) -> web.Response:
        body = (await request.read()).decode()
        return web.json_response({"method": request.method, "x-a": request.headers.get("x-a"), "body": body})

    async def text(_: web.Request) -> web.Response:
        return web.Response(text="no JSON")

    async def slow(_: web.Request) -> web.Response:
        await stopping.wait()
        return web.Response()

    app = web.Application()
    app.add_routes([web.route("*", "/echo", echo), web.get("/text", text), web.get("/slow", slow)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield "http://{}:{}".format(*runner.addresses[0][:2])
    finally:
        stopping.set()
        await runner.cleanup()
