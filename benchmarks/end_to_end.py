"""The whole pipeline under load on Apache Kafka: lost, wrong, rate, latency, CPU a job, memory and start-up.

    .venv/bin/python -m benchmarks.end_to_end [--jobs 5000] [--connections 32] [--rate JOBS_A_SECOND]

Broker, pipeline, load and receiver share this machine's cores; compare figures of one run only.
"""

import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated

import aiohttp
import typer
from aiohttp import web
from rich.console import Console
from rich.table import Table

from benchmarks.running import run
from tests.support.kafka import own_kafka
from tests.support.processes import Service, run_to_end
from tests.support.waiting import eventually, free_port

_MIB = 2**20


class Load:
    """Submits jobs and receives their callbacks; times are in seconds of one clock."""

    def __init__(self, gateway: str) -> None:
        self._gateway = f"{gateway}/v1/calculation/basic"
        self.sent: dict[int, float] = {}
        self.accepted: dict[str, int] = {}
        self.arrived: dict[str, float] = {}
        self.results: dict[str, object] = {}
        self.calls = 0
        self.callback_url = ""

    async def receive(self, request: web.Request) -> web.Response:
        body = json.loads(await request.read())
        self.calls += 1
        self.arrived.setdefault(body["task_id"], time.perf_counter())
        self.results[body["task_id"]] = body["results"]
        return web.Response()

    async def submit(self, session: aiohttp.ClientSession, number: int) -> None:
        item = {"name": "sum", "num_1": number, "num_2": 0.5, "operation": "+", "result_rounding": 2}
        data = json.dumps({"callback_url": self.callback_url, "message": [item]}).encode()
        self.sent[number] = time.perf_counter()
        async with session.post(self._gateway, data=data, headers={"content-type": "application/json"}) as answer:
            body = await answer.json()
            assert answer.status == 200, body
        self.accepted[body["task_id"]] = number

    async def run(self, numbers: range, connections: int, rate: float | None) -> float:
        """Submit `numbers` (closed loop, or open at `rate` a second); return the seconds until the last callback."""
        goal = len(self.accepted) + len(numbers)
        began = time.perf_counter()
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=connections)) as session:
            if rate:
                await self._at_rate(session, numbers, rate)
            else:
                await self._closed(session, iter(numbers), connections)
        await eventually(lambda: len(self.arrived) >= goal, 120)
        return time.perf_counter() - began

    async def _closed(self, session: aiohttp.ClientSession, numbers: Iterator[int], connections: int) -> None:
        async def client() -> None:
            for number in numbers:
                await self.submit(session, number)

        await asyncio.gather(*(client() for _ in range(connections)))

    async def _at_rate(self, session: aiohttp.ClientSession, numbers: range, rate: float) -> None:
        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for index, number in enumerate(numbers):
                await asyncio.sleep(max(0.0, began + index / rate - time.perf_counter()))
                group.create_task(self.submit(session, number))

    def wrong(self) -> int:
        return sum(
            self.results[task] != [{"sum": number + 0.5}]
            for task, number in self.accepted.items()
            if task in self.arrived
        )

    def latencies(self, numbers: range) -> list[float]:
        return sorted(
            (self.arrived[task] - self.sent[number]) * 1000
            for task, number in self.accepted.items()
            if number in numbers and task in self.arrived
        )


def cpu(service: Service) -> float:
    """Return the CPU seconds that a service has used."""
    times = [process.cpu_times() for process in service.with_children()]
    return sum(time.user + time.system for time in times)


def memory(service: Service) -> float:
    """Return a service's resident memory in MiB."""
    return float(sum(process.memory_info().rss for process in service.with_children()) / _MIB)


async def measure(jobs: int, connections: int, rate: float | None) -> None:
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        kafka = await stack.enter_async_context(own_kafka(directory))
        env = {"CALLSTREAM_KAFKA__BOOTSTRAP": kafka.bootstrap, "CALLSTREAM_EGRESS__ALLOW": "127.0.0.0/8"}
        code, output = await run_to_end("topics", env=env, directory=directory)
        assert code == 0, output
        port = free_port()
        services, started = {}, {}
        for name, *options in (["gateway", "--port", str(port)], ["tasks"], ["callbacks"]):
            began = time.perf_counter()
            service = services[name] = stack.enter_context(Service(name, *options, env=env, directory=directory))
            await service.wait_until_ready()
            started[name] = time.perf_counter() - began
        idle = {name: memory(service) for name, service in services.items()}
        load = Load(f"http://127.0.0.1:{port}")
        app = web.Application()
        app.router.add_post("/", load.receive)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        load.callback_url = "http://{}:{}/".format(*runner.addresses[0][:2])
        warm_up = range(500)
        await load.run(warm_up, connections, None)
        before = {name: cpu(service) for name, service in services.items()}
        numbers = range(500, 500 + jobs)
        seconds = await load.run(numbers, connections, rate)
        used = {name: cpu(service) - before[name] for name, service in services.items()}
        loaded = {name: memory(service) for name, service in services.items()}
        report(load, numbers, seconds)
        table = Table("process", "start-up s", "idle MiB", "loaded MiB", "CPU ms a job")
        for name in services:
            table.add_row(
                name,
                f"{started[name]:.2f}",
                f"{idle[name]:.0f}",
                f"{loaded[name]:.0f}",
                f"{used[name] / jobs * 1000:.3f}",
            )
        Console().print(table)


def report(load: Load, numbers: range, seconds: float) -> None:
    times = load.latencies(numbers)
    hundredths = statistics.quantiles(times, n=100)
    lost = len(load.accepted) - len(load.arrived)
    print(f"jobs {len(numbers)}  lost {lost}  wrong {load.wrong()}  duplicates {load.calls - len(load.arrived)}")
    print(f"rate {len(numbers) / seconds:.0f} jobs/s  latency p50 {hundredths[49]:.1f} ms  p99 {hundredths[98]:.1f} ms")


def main(jobs: int = 5_000, connections: int = 32, rate: Annotated[float | None, typer.Option(min=1)] = None) -> None:
    run(measure(jobs, connections, rate))


if __name__ == "__main__":
    typer.run(main)
