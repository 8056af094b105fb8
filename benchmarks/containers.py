"""What each container takes: start-up, and memory idle and under load.

    .venv/bin/python -m benchmarks.containers [--jobs 5000]

It brings docker-compose.kafka.yml up as a project of its own; load and everything else share this machine.
"""

import json
from datetime import datetime, timedelta

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.running import run
from tests.support.docker import IMAGE, Compose, compose, docker
from tests.support.jobs import Jobs, open_session
from tests.support.waiting import eventually

_OURS = ("gateway", "tasks", "callbacks", "receiver")


async def memory(project: Compose) -> dict[str, str]:
    """Return what each service's container has in memory."""
    found = {}
    for container in await project.containers():
        if container["State"] == "running":
            stats = json.loads(await docker("stats", "--no-stream", "--format", "json", container["ID"]))
            found[container["Service"]] = stats["MemUsage"].split(" / ")[0]
    return found


async def start_up(project: Compose, service: str) -> timedelta:
    """Return how long after its start the container's process said that it was ready."""
    (container,) = await project.containers(service)
    began = await docker("inspect", "--format", "{{.State.StartedAt}}", container["ID"])
    log = await docker("logs", "--timestamps", container["ID"])
    ready = next(line.split()[0] for line in log.splitlines() if ".ready" in line)
    return datetime.fromisoformat(ready) - datetime.fromisoformat(began.strip())


async def measure(jobs: int) -> None:
    async with compose() as project, open_session() as session:
        await project("up", "--detach", "--wait")
        size = int(await docker("image", "inspect", "--format", "{{.Size}}", IMAGE))
        idle = await memory(project)
        client = Jobs(url=f"http://127.0.0.1:{project.gateway}", session=session)
        await client.submit_many(range(jobs), "http://receiver:8001/test-me")

        async def delivered() -> bool:
            return (await project("logs", "callbacks")).count("callback.attempted") >= jobs

        await eventually(delivered, 120)
        loaded = await memory(project)
        table = Table("container", "start-up s", "idle", f"after {jobs} jobs")
        for service in ("kafka", *_OURS):
            began = f"{(await start_up(project, service)).total_seconds():.1f}" if service in _OURS else ""
            table.add_row(service, began, idle[service], loaded[service])
    Console().print(f"image {size / 1e6:.0f} MB", table)


def main(jobs: int = 5_000) -> None:
    run(measure(jobs))


if __name__ == "__main__":
    typer.run(main)
