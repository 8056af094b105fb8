"""docker-compose.kafka.yml on a real engine: both examples, a killed container, a restarted Kafka; nothing is lost."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from demo.examples import Example, calculation, data
from tests.support.docker import Compose, compose, docker, need_docker
from tests.support.jobs import Jobs, open_session
from tests.support.waiting import eventually

RECEIVER = "http://receiver:8001"  # as the containers see it
JOBS = 400
RUNNING = {"kafka": 1, "gateway": 1, "tasks": 2, "callbacks": 2, "receiver": 1}


@pytest.fixture
async def project() -> AsyncIterator[Compose]:
    need_docker()
    async with compose() as project:
        yield project


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with open_session() as session:
        yield session


async def received(session: aiohttp.ClientSession, project: Compose, task_id: str = "") -> list[dict[str, Any]]:
    """Return the calls that came to the receiver, or those of a task."""
    async with session.get(f"http://127.0.0.1:{project.receiver}/received/{task_id}".rstrip("/")) as answer:
        return await answer.json() if answer.status == 200 else []


async def calls_back(session: aiohttp.ClientSession, project: Compose, example: Example) -> None:
    request = {"callback_url": f"{RECEIVER}/test-me", "message": example.message}

    async def submit() -> Any:
        async with session.post(f"http://127.0.0.1:{project.gateway}{example.path}", json=request) as answer:
            assert answer.status in {200, 503}, await answer.text()  # 503: beside other tests a broker may be late
            return (await answer.json()).get("task_id")

    task_id = await eventually(submit, 30)
    (call,) = await eventually(lambda: received(session, project, task_id), 30)
    assert call["body"] == {"results": example.results, "errors": [], "task_id": task_id}


async def test_what_compose_brings_up_calls_back_and_loses_nothing(
    project: Compose, session: aiohttp.ClientSession, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    await project("up", "--detach", "--wait", "--scale", "tasks=2", "--scale", "callbacks=2")
    up = time.monotonic() - began
    containers = await project.containers()
    assert Counter(one["Service"] for one in containers if one["Health"] == "healthy") == RUNNING
    assert [one["ExitCode"] for one in containers if one["Service"] == "topics"] == [0]

    sample = await (await session.get(f"http://127.0.0.1:{project.receiver}/sample.json")).json()
    await calls_back(session, project, calculation())
    await calls_back(session, project, data(f"{RECEIVER}/sample.json", sample))
    assert "123.76" in await project("logs", "receiver")

    jobs = Jobs(url=f"http://127.0.0.1:{project.gateway}", session=session)
    load = asyncio.create_task(jobs.submit_many(range(JOBS), f"{RECEIVER}/test-me"))
    await eventually(lambda: len(jobs.expected) > JOBS / 4, 60)
    killed, _ = await project.containers("tasks")
    await docker("kill", "--signal", "KILL", killed["ID"])
    await eventually(lambda: len(jobs.expected) > JOBS / 2, 60)
    await project("restart", "kafka")
    await asyncio.wait_for(load, 120)

    async def bodies() -> dict[str, Any]:
        return {call["task_id"]: call["body"] for call in await received(session, project)}

    async def complete() -> bool:
        return not jobs.lost(await bodies())

    await eventually(complete, 90)
    assert not jobs.wrong(await bodies())
    repeated = len(await received(session, project)) - JOBS - 2
    with capsys.disabled():
        print(  # noqa: T201 - figures for who asks
            f"\ncompose: up and healthy in {up:.0f} s; {JOBS} jobs, a tasks container killed, Kafka restarted: "
            f"0 lost, 0 wrong, {repeated} repeated; {time.monotonic() - began:.0f} s"
        )


async def test_only_loopback_is_published_and_only_its_receiver_is_allowed(project: Compose) -> None:
    await project("create")
    for one in await project.containers():
        assert all(port["URL"] in {"", "127.0.0.1"} for port in one["Publishers"] or []), one
    inspected = await docker("inspect", *(one["ID"] for one in await project.containers("callbacks")))
    assert f"CALLSTREAM_EGRESS__ALLOW={project.receiver_address}/32" in inspected
