"""A package with a task type, installed beside Callstream, is served like any other."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import pytest
import pytest_asyncio
import yaml

from tests.support.kafka import Kafka
from tests.support.pipeline import Pipeline, pipeline_on
from tests.support.processes import Service, alive, run_to_end
from tests.support.receiver import Receiver
from tests.support.waiting import eventually, free_port

pytestmark = pytest.mark.asyncio(loop_scope="session")

PLUGIN = Path(__file__).parents[2] / "examples/plugin"
PATH = "/v1/numbers/factors"
SMALL = {"name": "small", "number": 360}
TOO_LARGE = {"name": "too large", "number": 2**61 - 1}  # a prime


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Install the plugin into a directory; return the environment in which processes find it."""
    directory = tmp_path_factory.mktemp("plugin")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(directory)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(PLUGIN)], check=True, timeout=60)
    return {"PYTHONPATH": os.pathsep.join([str(directory), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def pipeline(
    kafka: Kafka, installed: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Pipeline]:
    """Find what the processes said of the missing topic in `missing.log`, and then a pipeline that has it."""
    settings = {
        "CALLSTREAM_KAFKA__BOOTSTRAP": kafka.bootstrap,
        "CALLSTREAM_TOPICS__PREFIX": f"e{uuid4().hex[:12]}.",
        "CALLSTREAM_TOPICS__PARTITIONS": "1",
        "CALLSTREAM_TASKS__ITEM_DEADLINE": "1",
    }
    directory = tmp_path_factory.mktemp("pipeline")
    await without_its_topic(settings, installed, directory)
    async with pipeline_on(kafka.bootstrap, directory, settings | installed) as running:
        yield running


async def without_its_topic(settings: dict[str, str], installed: dict[str, str], directory: Path) -> None:
    """Check that gateway and tasks say what is missing, and what would create it."""
    exit_code, output = await run_to_end("topics", env=settings, directory=directory)
    assert exit_code == 0, output
    complaint = (
        f"missing topics, which `callstream topics` creates: {settings['CALLSTREAM_TOPICS__PREFIX']}factors.requests"
    )
    for command in (["gateway", "--port", str(free_port())], ["tasks"]):
        with Service(*command, env=settings | installed, directory=directory) as service:
            await eventually(lambda: complaint in service.read_log(), 30, service.log_tail)


async def submit(pipeline: Pipeline, receiver: Receiver, *items: dict[str, Any]) -> str:
    request = {"callback_url": receiver.url, "message": list(items)}
    async with pipeline.session.post(pipeline.url + PATH, json=request) as answer:
        assert answer.status == 200, await answer.text()
        task_id: str = (await answer.json())["task_id"]
        return task_id


async def test_its_route_answers_and_calls_back_also_for_what_does_not_end(
    pipeline: Pipeline, receiver: Receiver
) -> None:
    task_id = await submit(pipeline, receiver, SMALL, TOO_LARGE)
    await eventually(lambda: task_id in receiver.bodies, 30, pipeline.tasks.log_tail)
    assert receiver.bodies[task_id] == {
        "results": [{"small": [2, 2, 2, 3, 3, 5]}],
        "errors": [{"too large": "no result within 1 s"}],
        "task_id": task_id,
    }


async def test_openapi_and_asyncapi_document_it(pipeline: Pipeline) -> None:
    async with pipeline.session.get(f"{pipeline.url}/openapi.json") as answer:
        operation = (await answer.json())["paths"][PATH]["post"]
    assert operation["summary"] == "Find the prime factors of each number."
    async with pipeline.session.get(f"{pipeline.url}/asyncapi.yaml") as answer:
        channels = yaml.safe_load(await answer.text())["channels"]
    assert f"{pipeline.prefix}factors.requests" in {channel["address"] for channel in channels.values()}


async def test_a_killed_process_leaves_none_of_its_item_processes_behind(
    pipeline: Pipeline, receiver: Receiver
) -> None:
    task_id = await submit(pipeline, receiver, TOO_LARGE)
    tasks = psutil.Process(pipeline.tasks.pid)
    children = await eventually(lambda: [child for child in tasks.children() if busy(child)], 30)
    pipeline.tasks.kill()
    await eventually(lambda: not any(alive(child) for child in children))
    pipeline.tasks.start()
    await eventually(lambda: task_id in receiver.bodies, 40, pipeline.tasks.log_tail)
    assert receiver.bodies[task_id]["errors"] == [{"too large": "no result within 1 s"}]


def busy(process: psutil.Process) -> bool:
    return process.status() == psutil.STATUS_RUNNING


async def test_two_packages_that_claim_one_name_stop_the_start(
    pipeline: Pipeline, installed: dict[str, str], tmp_path: Path
) -> None:
    rival = tmp_path / "rival-0.1.dist-info"
    rival.mkdir()
    (rival / "METADATA").write_text("Metadata-Version: 2.1\nName: rival\nVersion: 0.1\n")
    (rival / "entry_points.txt").write_text("[callstream.tasks]\nsums = callstream.tasks.calculation:calculate\n")
    path = os.pathsep.join([str(tmp_path), installed["PYTHONPATH"]])
    for command in ("topics", "tasks", "gateway"):
        exit_code, output = await run_to_end(
            command,
            *(["--port", str(free_port())] if command == "gateway" else []),
            env={**pipeline.env, "PYTHONPATH": path},
            directory=tmp_path,
        )
        assert (exit_code, output) == (
            2,
            "two tasks are named 'calculation'; the second is 'callstream.tasks.calculation:calculate'\n",
        )
