"""Memory of `callbacks` while very many results wait, each for a receiver of its own.

    .venv/bin/python -m benchmarks.waiting_memory [--count 100000]

Every receiver is a loopback address where nobody listens, so each result is tried once and then waits in a tier.
"""

import asyncio
import tempfile
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import psutil
import typer
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from benchmarks.running import run
from callstream.contract.messages import TaskResult, Times
from tests.support.kafka import own_kafka
from tests.support.processes import Service, run_to_end
from tests.support.waiting import eventually, free_port

_MIB = 2**20
_AT_ONCE = 5_000  # records produced before their acknowledgements are awaited


def result(number: int, port: int) -> bytes:
    now = datetime.now(UTC)
    address = f"127.{number // 65_536 + 1}.{number // 256 % 256}.{number % 256}"
    return (
        TaskResult(
            task_id=f"task-{number}",
            task="calculation",
            callback_url=f"http://{address}:{port}/",
            results=[{"sum": float(number)}],
            errors=[],
            times=Times(received=now, started=now, finished=now),
        )
        .model_dump_json()
        .encode()
    )


async def produce(bootstrap: str, count: int) -> None:
    port = free_port()
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
        for first in range(0, count, _AT_ONCE):
            numbers = range(first, min(count, first + _AT_ONCE))
            sent = [
                await producer.send("task.results", result(number, port), key=f"task-{number}".encode())
                for number in numbers
            ]
            await asyncio.gather(*sent)


async def stored(bootstrap: str, topic: str) -> int:
    """Return how many records `topic` holds."""
    async with AIOKafkaConsumer(topic, bootstrap_servers=bootstrap) as consumer:
        return sum((await consumer.end_offsets(consumer.assignment())).values())


async def measure(count: int) -> None:
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        kafka = await stack.enter_async_context(own_kafka(directory))
        env = {
            "CALLSTREAM_KAFKA__BOOTSTRAP": kafka.bootstrap,
            "CALLSTREAM_EGRESS__ALLOW": "127.0.0.0/8",
            "CALLSTREAM_CALLBACKS__SCHEDULE": "10m",
        }
        exit_code, output = await run_to_end("topics", env=env, directory=directory)
        assert exit_code == 0, output
        service = stack.enter_context(Service("callbacks", env=env, directory=directory))
        await service.wait_until_ready()
        process = psutil.Process(service.pid)
        print(f"idle: {process.memory_info().rss / _MIB:.0f} MiB")
        began, peak = time.perf_counter(), 0.0
        await produce(kafka.bootstrap, count)

        async def all_wait() -> bool:
            nonlocal peak
            peak = max(peak, process.memory_info().rss / _MIB)
            return await stored(kafka.bootstrap, "callback.retry.10m") >= count

        await eventually(all_wait, 600, service.log_tail)
        took = time.perf_counter() - began
        print(f"{count} results wait for {count} receivers after {took:.0f} s, {count / took:.0f}/s")
        print(f"peak: {peak:.0f} MiB, now: {process.memory_info().rss / _MIB:.0f} MiB")
        assert await service.stop() == 0
        service.start()
        await service.wait_until_ready()
        process = psutil.Process(service.pid)
        print(f"after a restart, all of them waiting: {process.memory_info().rss / _MIB:.0f} MiB")


def main(count: int = 100_000) -> None:
    run(measure(count))


if __name__ == "__main__":
    typer.run(main)
