"""One slow receiver beside a fast one: how long the fast one's jobs take.

.venv/bin/python -m benchmarks.slow_receiver [--slow 30] [--seconds 2] [--fast 1000] [--rate 100]
"""

import asyncio
import statistics
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

import typer

from benchmarks.running import run
from tests.support.kafka import own_kafka
from tests.support.pipeline import pipeline_on
from tests.support.receiver import receiving
from tests.support.waiting import eventually


async def measure(slow: int, seconds: float, fast: int, rate: float) -> None:
    arrived: dict[str, float] = {}
    sent: dict[str, float] = {}
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        kafka = await stack.enter_async_context(own_kafka(directory))
        crawling = await stack.enter_async_context(receiving())
        answering = await stack.enter_async_context(receiving())
        pipeline = await stack.enter_async_context(pipeline_on(kafka.bootstrap, directory, {}))
        crawling.delay = lambda: seconds
        answering.on_call = lambda task_id: arrived.setdefault(task_id, time.perf_counter())
        await pipeline.submit_many(range(100), answering.url)  # a new broker is slow at first
        await eventually(lambda: len(answering.bodies) == 100, 60)
        slow_ones = [await pipeline.submit(number, crawling.url) for number in range(slow)]

        async def submit(number: int) -> None:
            began = time.perf_counter()
            sent[await pipeline.submit(number, answering.url)] = began

        start = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for number in range(fast):
                await asyncio.sleep(max(0.0, start + number / rate - time.perf_counter()))
                group.create_task(submit(number))
        await eventually(lambda: sent.keys() <= arrived.keys(), 60)
        times = sorted((arrived[task] - began) * 1000 for task, began in sent.items())
        hundredths = statistics.quantiles(times, n=100)
        print(f"fast: {fast} jobs  p50 {hundredths[49]:.1f} ms  p99 {hundredths[98]:.1f} ms  max {times[-1]:.1f} ms")
        await eventually(lambda: crawling.bodies.keys() >= set(slow_ones), 120)
        print(f"slow: {slow} jobs, all called back, at most {crawling.most_at_once} at once")


def main(slow: int = 30, seconds: float = 2, fast: int = 1_000, rate: float = 100) -> None:
    run(measure(slow, seconds, fast, rate))


if __name__ == "__main__":
    typer.run(main)
