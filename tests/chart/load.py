"""A load from inside the cluster: submits calculations at a rate, is their receiver, and counts.

Half of the requests come over connections that are kept, half over one each. SIGTERM ends the submitting; what is still
owed may come until the deadline. The last line is JSON.
"""

import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter
from contextlib import suppress

import aiohttp
from aiohttp import web

PORT = 8003
RATE = float(os.environ["RATE"])  # requests a second
LONGEST = 240  # seconds of submitting
OWED = 90  # seconds for what is still owed at the end
URL = f"http://{os.environ['GATEWAY']}/v1/calculation/basic"
ME = os.environ["POD_IP"]


class Load:
    def __init__(self) -> None:
        self.ending = asyncio.Event()
        self.begun = asyncio.Event()
        self.failures: Counter[str] = Counter()
        self.accepted: dict[str, int] = {}  # number by task_id
        self.came: Counter[str] = Counter()  # callbacks by webhook-id
        self.wrong = 0
        self.slowest_answer = 0.0
        self.submitted: dict[int, float] = {}
        self.slowest_callback = 0.0

    async def submit(self, number: int, session: aiohttp.ClientSession) -> None:
        item = {"name": "sum", "num_1": number, "num_2": 0.5, "operation": "+", "result_rounding": 1}
        began = self.submitted[number] = time.monotonic()
        try:
            async with session.post(
                URL, json={"callback_url": f"http://{ME}:{PORT}/{number}", "message": [item]}
            ) as answer:
                body = await answer.json()
                if answer.ok:
                    self.accepted[body["task_id"]] = number
                else:
                    self.failures[f"{answer.status} {body.get('detail', '')}"] += 1
        except (aiohttp.ClientError, OSError, ValueError) as error:
            kept = "fresh" if session.connector and session.connector.force_close else "kept"
            self.failures[f"{kept}: {type(error).__name__}: {error}"] += 1
        self.slowest_answer = max(self.slowest_answer, time.monotonic() - began)

    async def receive(self, request: web.Request) -> web.Response:
        number = int(request.match_info["number"])
        body = await request.json()
        task = request.headers["webhook-id"]
        if body != {"results": [{"sum": number + 0.5}], "errors": [], "task_id": task}:
            self.wrong += 1
        if not self.came[task]:
            self.slowest_callback = max(self.slowest_callback, time.monotonic() - self.submitted[number])
        self.came[task] += 1
        if not self.begun.is_set():
            self.begun.set()
            say("begun")
        return web.Response(status=204)

    async def run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=15)
        async with (
            aiohttp.ClientSession(timeout=timeout) as kept,
            aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(force_close=True)) as fresh,
            asyncio.TaskGroup() as group,
        ):
            began = time.monotonic()
            number = 0
            while not self.ending.is_set() and time.monotonic() - began < LONGEST:
                group.create_task(self.submit(number, (kept, fresh)[number % 2]))
                number += 1
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(
                        asyncio.get_running_loop().time() + began + number / RATE - time.monotonic()
                    ):
                        await self.ending.wait()

    async def settle(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(OWED):
                while self.lost():
                    await asyncio.sleep(0.1)

    def lost(self) -> int:
        return sum(task not in self.came for task in self.accepted)

    def counts(self) -> dict[str, object]:
        return {
            "requests": len(self.submitted),
            "failed": self.failures.total(),
            "accepted": len(self.accepted),
            "lost": self.lost(),
            "wrong": self.wrong,
            "duplicates": sum(times - 1 for times in self.came.values()),
            "slowest_answer": round(self.slowest_answer, 2),
            "slowest_callback": round(self.slowest_callback, 2),
            "failures": dict(self.failures.most_common(5)),
        }


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def main() -> None:
    load = Load()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, load.ending.set)
    app = web.Application()
    app.router.add_post("/{number}", load.receive)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, ME, PORT).start()
    await load.run()
    await load.settle()
    say(json.dumps(load.counts()))
    await runner.cleanup()


asyncio.run(main())
