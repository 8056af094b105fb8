"""What receivers that hang for ever cost those that answer: nothing, it is hoped.

    .venv/bin/python -m benchmarks.hanging_receivers [--rate 600] [--seconds 30] [--share 0.2] [--rounds 3]

After a round that is not counted, it offers the same open-loop load in turns, once with every receiver answering and
once with a share of them hanging, and compares the p99 of the jobs of those that answer in both. Broker, pipeline,
load and receivers share this machine.
"""

import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from uuid import uuid4

import aiohttp
import typer
from aiohttp import web

from benchmarks.running import run
from tests.support.kafka import own_kafka
from tests.support.pipeline import Pipeline, pipeline_on
from tests.support.waiting import eventually, free_port

RECEIVERS = 50  # each on a loopback address of its own, which makes it a receiver of its own
WARM_UP = 5  # seconds, not counted


class Fleet:
    """Receivers of which some hang; keeps when each job's callback came."""

    def __init__(self, hanging: int) -> None:
        self._hanging = hanging
        self.arrived: dict[str, float] = {}
        self.port = free_port()
        self._end = asyncio.Event()

    def hangs(self, number: int) -> bool:
        return number % RECEIVERS < self._hanging

    def url(self, number: int) -> str:
        return f"http://127.0.1.{number % RECEIVERS + 1}:{self.port}/{int(self.hangs(number))}"

    async def receive(self, request: web.Request) -> web.Response:
        body = json.loads(await request.read())
        if request.match_info["hangs"] == "1":
            await self._end.wait()
        self.arrived.setdefault(body["task_id"], time.perf_counter())
        return web.Response()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_post("/{hangs}", self.receive)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        for number in range(RECEIVERS):
            await web.TCPSite(runner, f"127.0.1.{number + 1}", self.port).start()
        try:
            yield
        finally:
            self._end.set()
            await runner.cleanup()


async def load(pipeline: Pipeline, fleet: Fleet, rate: float, seconds: float, share: float) -> list[float]:
    """Submit jobs at `rate`; return the milliseconds to each callback of a receiver that always answers."""
    sent: dict[str, float] = {}
    item = {"name": "sum", "num_1": 1, "num_2": 2, "operation": "+", "result_rounding": 0}

    async def submit(number: int, began: float, counts: bool) -> None:  # noqa: FBT001 - a fact of the job
        body = {"callback_url": fleet.url(number), "message": [item]}
        url = f"{pipeline.url}/v1/calculation/basic"
        async with pipeline.session.post(url, json=body, timeout=aiohttp.ClientTimeout(total=10)) as answer:
            assert answer.status == 200, await answer.text()
            task_id = (await answer.json())["task_id"]
        if counts and number % RECEIVERS >= round(RECEIVERS * share):  # the same jobs in both cases
            sent[task_id] = began

    start = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(round((WARM_UP + seconds) * rate)):
            due = start + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            group.create_task(submit(number, due, number >= WARM_UP * rate))
    await eventually(lambda: sent.keys() <= fleet.arrived.keys(), 60)
    return sorted((fleet.arrived[task] - began) * 1000 for task, began in sent.items())


async def once(  # noqa: PLR0913, PLR0917 - the figures of a run
    bootstrap: str, directory: Path, rate: float, seconds: float, share: float, hanging: float
) -> list[float]:
    fleet = Fleet(round(RECEIVERS * hanging))
    env = {"CALLSTREAM_TOPICS__PREFIX": f"b{uuid4().hex[:8]}."}
    async with fleet.running(), pipeline_on(bootstrap, directory, env) as pipeline:
        return await load(pipeline, fleet, rate, seconds, share)


async def measure(rate: float, seconds: float, share: float, rounds: int) -> None:
    found: dict[float, list[float]] = {0.0: [], share: []}
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        kafka = await stack.enter_async_context(own_kafka(directory))
        await once(kafka.bootstrap, directory, rate, WARM_UP, share, 0.0)  # a new broker is slow at first
        for number in range(rounds):
            for hanging, figures in found.items():
                times = await once(kafka.bootstrap, directory, rate, seconds, share, hanging)
                hundredths = statistics.quantiles(times, n=100)
                figures.append(hundredths[98])
                print(
                    f"round {number + 1}  hanging {hanging:.0%}  jobs counted {len(times)}"
                    f"  p50 {hundredths[49]:.1f} ms  p99 {hundredths[98]:.1f} ms  max {times[-1]:.0f} ms"
                )
    none, some = (statistics.median(figures) for figures in found.values())
    print(f"median p99: none hanging {none:.1f} ms, {share:.0%} hanging {some:.1f} ms, ratio {some / none:.2f}")


def main(rate: float = 600, seconds: float = 30, share: float = 0.2, rounds: int = 3) -> None:
    run(measure(rate, seconds, share, rounds))


if __name__ == "__main__":
    typer.run(main)
