"""The receiver's HTTP side."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from http import HTTPStatus

from fastapi import FastAPI, HTTPException, Request, Response
from pydantic import JsonValue
from rich.console import Console
from starlette.requests import ClientDisconnect

from receiver.behaviour import Behaviour, Orders
from receiver.calls import Call, Calls, call_from
from receiver.connection import drop, wait_until_gone
from receiver.display import show
from receiver.verification import Verifier

_BODY_LIMIT = 2**20  # bytes

_SAMPLE: JsonValue = {
    "station": "Harbour",
    "readings": [{"hour": 6, "celsius": 7.5}, {"hour": 12, "celsius": 14.25}, {"hour": 18, "celsius": 11.0}],
}


def create_app(console: Console, secrets: Sequence[str] = ()) -> FastAPI:
    """Return the application; with `secrets` it takes only callbacks that one of them signed.

    Raises:
        SecretError: one of them cannot be used.
    """
    app = FastAPI(
        title="Example receiver",
        description="Shows callbacks, and misbehaves when told to.",
        max_body_size=_BODY_LIMIT,
    )
    calls, orders, verifier = Calls(), Orders(), Verifier(secrets)

    @app.post("/test-me")
    async def receive(request: Request) -> Response:
        """Take a callback: show it, keep it, and answer as `/behave` said, or 401 if its signature is not good."""
        raw = await request.body()
        verdict = verifier.verdict(raw, request.headers)
        call = call_from(raw, request.headers, verdict.text, datetime.now(UTC))
        calls.add(call, len(raw))
        show(console, call)
        if not verdict.accepted:
            return Response(status_code=HTTPStatus.UNAUTHORIZED)
        return await _behave(request, orders.next())

    @app.get("/received")
    def received() -> list[Call]:
        """Tell the last 1,000 calls, oldest first; fewer where their bodies are more than a MiB."""
        return calls.all()

    @app.get("/received/{task_id:path}")
    def received_for(task_id: str) -> list[Call]:
        """Tell the calls with this task_id, oldest first."""
        if not (found := calls.of(task_id)):
            raise HTTPException(HTTPStatus.NOT_FOUND, "no call with this task_id among the last")
        return found

    @app.get("/sample.json")
    def sample() -> JsonValue:
        """Give a data task something to fetch."""
        return _SAMPLE

    @app.post("/behave")
    async def behave(behaviour: Behaviour) -> Behaviour:
        """Make `/test-me` answer a status, wait, hang or drop the connection; `{}` is back to normal."""
        orders.give(behaviour)
        return behaviour

    @app.exception_handler(ClientDisconnect)
    async def hung_up(_: Request, __: Exception) -> Response:
        return Response()  # which nobody gets

    return app


async def _behave(request: Request, behaviour: Behaviour) -> Response:
    if behaviour.hang or behaviour.wait:
        with suppress(TimeoutError):
            async with asyncio.timeout(None if behaviour.hang else behaviour.wait):
                await wait_until_gone(request)
    if behaviour.drop:
        await drop(request)
    return Response(status_code=behaviour.status, headers=behaviour.headers)
