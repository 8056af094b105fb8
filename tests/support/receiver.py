"""A receiver inside the test: counts what arrives and does as it is told."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from tests.support.waiting import eventually


class Receiver:
    """Keeps the body of every callback by task_id.

    `delay` gives the seconds to wait before each answer, `swallows` whether a call is never answered nor counted;
    `most_at_once` is how many calls were under way together.
    """

    def __init__(self) -> None:
        self.bodies: dict[str, Any] = {}
        self.calls: Counter[str] = Counter()
        self.taken: set[str] = set()  # those that were answered with 2xx
        self.conflicts: list[str] = []
        self.statuses: Callable[[], int] = lambda: 200
        self.delay: Callable[[], float] = lambda: 0.0
        self.on_call: Callable[[str], object] = lambda _: None
        self.url = ""
        self.swallows: Callable[[], bool] = lambda: False
        self.swallowed = 0
        self.most_at_once = 0
        self._at_once = 0

    @property
    def duplicates(self) -> int:
        return self.calls.total() - len(self.calls)

    async def _receive(self, request: web.Request) -> web.Response:
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            return await self._answer(request)
        finally:
            self._at_once -= 1

    async def _answer(self, request: web.Request) -> web.Response:
        body = json.loads(await request.read())
        if self.swallows():
            self.swallowed += 1
            await asyncio.Event().wait()
        task_id = body["task_id"]
        self.on_call(task_id)
        self.taken.update([task_id] if 200 <= (status := self.statuses()) < 300 else [])
        if request.headers["webhook-id"] != task_id or self.bodies.setdefault(task_id, body) != body:
            self.conflicts.append(task_id)
        self.calls[task_id] += 1
        await asyncio.sleep(self.delay())
        return web.Response(status=status)


async def more_calls(receiver: Receiver, count: int, what: Callable[[], str]) -> None:
    """Wait until `receiver` has been called `count` more times; what `what` answers is told where it is not."""
    goal = receiver.calls.total() + count
    await eventually(lambda: receiver.calls.total() >= goal, 180, what)


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application(client_max_size=2**26)
    app.router.add_post("/", receiver._receive)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        receiver.url = f"http://{host}:{port}/"
        yield receiver
    finally:
        await runner.cleanup()
