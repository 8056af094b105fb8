"""Each example in examples/ produces to a running pipeline, and its callback arrives; so does the Python client's."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio

from callstream.client import Callstream, InvalidError
from callstream.contract.ids import keyed_task_id
from tests.support.kafka import Kafka
from tests.support.pipeline import Pipeline
from tests.support.processes import Service
from tests.support.receiver import Receiver
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

EXAMPLES = Path(__file__).parents[2] / "examples"
ITEM = {"name": "sum", "num_1": 40, "num_2": 2, "operation": "+", "result_rounding": 0}
Command = list[str]


def tool(name: str) -> str:
    if (found := shutil.which(name)) is None:
        if os.environ.get("CI") == "true" and name in {"java", "mvn"}:
            pytest.fail(f"{name} is not installed, and CI has it")
        pytest.skip(f"{name} is not installed")
    return found


def fetched(*command: str, directory: Path) -> None:
    """Run what fetches a client's library; where that cannot be had the test is skipped."""
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=240, check=False)
    if done.returncode:
        pytest.skip(f"{command[0]} cannot fetch the example's library: {(done.stderr or done.stdout).strip()[-300:]}")


def jars(example: str, directory: Path) -> str:
    """Return the class path of what an example's pom names."""
    options = ("-q", "-B", "-Dstyle.color=never", f"-DoutputDirectory={directory}")
    pom = EXAMPLES / example / "pom.xml"
    subprocess.run([tool("mvn"), *options, "-f", pom, "dependency:copy-dependencies"], timeout=240, check=True)
    return f"{directory}/*"


def python(script: str) -> Callable[[Path], Command]:
    return lambda _: [sys.executable, str(EXAMPLES / "python" / script)]


def java(directory: Path) -> Command:
    return [tool("java"), "-cp", jars("java", directory / "jars"), str(EXAMPLES / "java" / "Produce.java")]


def console(directory: Path) -> Command:
    """Stand in for a distribution of Apache Kafka on the PATH."""
    class_path = jars("console", directory / "jars")
    program = directory / "kafka-console-producer.sh"
    program.write_text(
        f'#!/bin/sh\nexec {tool("java")} -cp "{class_path}" org.apache.kafka.tools.ConsoleProducer "$@"\n'
    )
    program.chmod(0o755)
    return ["env", f"PATH={directory}{os.pathsep}{os.environ['PATH']}", str(EXAMPLES / "console" / "produce.sh")]


def go(directory: Path) -> Command:
    program = str(directory / "produce")
    fetched(tool("go"), "mod", "download", directory=EXAMPLES / "go")
    subprocess.run([tool("go"), "build", "-o", program, "."], cwd=EXAMPLES / "go", timeout=240, check=True)
    return [program]


def node(directory: Path) -> Command:
    copy = shutil.copytree(EXAMPLES / "node", directory / "node", ignore=shutil.ignore_patterns("node_modules"))
    fetched(tool("npm"), "install", "--no-package-lock", "--no-audit", "--no-fund", directory=copy)
    return [tool("node"), str(copy / "produce.js")]


@pytest.mark.parametrize(
    "prepare",
    [python("produce_aiokafka.py"), python("produce_confluent.py"), java, console, go, node],
    ids=["aiokafka", "confluent", "java", "console", "go", "node"],
)
async def test_an_example_produces_and_is_called_back(
    kafka: Kafka, pipeline: Pipeline, receiver: Receiver, tmp_path: Path, prepare: Callable[[Path], Command]
) -> None:
    command = await asyncio.to_thread(prepare, tmp_path)
    env = {
        "KAFKA_BOOTSTRAP": kafka.bootstrap,
        "TOPIC": f"{pipeline.prefix}calculation.requests",
        "CALLBACK_URL": receiver.url,
    }
    with Service("example", env=env, directory=tmp_path, program=command) as example:
        assert await example.wait(40) == 0, example.log_tail()
    await eventually(lambda: receiver.bodies, 20, pipeline.callbacks.log_tail)
    ((task_id, body),) = receiver.bodies.items()
    assert body == {"results": [{"sum": 42.0}], "errors": [], "task_id": task_id}


@pytest_asyncio.fixture(params=["rest", "kafka"], loop_scope="session")
async def client(request: pytest.FixtureRequest, kafka: Kafka, pipeline: Pipeline) -> AsyncIterator[Callstream]:
    over = {
        "rest": lambda: Callstream.over_rest(pipeline.url),
        "kafka": lambda: Callstream.over_kafka(kafka.bootstrap, prefix=pipeline.prefix),
    }
    async with over[request.param]() as running:
        yield running


async def test_the_client_submits_the_same_way_through_both_doors(
    client: Callstream, pipeline: Pipeline, receiver: Receiver
) -> None:
    soon = datetime.now(UTC) + timedelta(minutes=1)
    key = uuid4().hex
    task_id = await client.submit(
        "calculation", message=[ITEM], callback_url=receiver.url, idempotency_key=key, callback_deadline=soon
    )
    assert task_id == keyed_task_id("/v1/calculation/basic", key)
    await eventually(lambda: task_id in receiver.bodies, 20, pipeline.callbacks.log_tail)
    assert receiver.bodies[task_id]["results"] == [{"sum": 42.0}]


async def test_both_doors_say_alike_what_is_wrong(client: Callstream) -> None:
    with pytest.raises(InvalidError) as error:
        await client.submit("calculation", message=[ITEM | {"operation": "%"}], callback_url="http://a.example/")
    (detail,) = error.value.details
    assert (detail.loc, detail.input) == (("body", "message", 0, "operation"), "%")


async def test_without_a_callback_url_the_result_is_read_from_its_topic_by_the_consuming_example(
    kafka: Kafka, pipeline: Pipeline, tmp_path: Path
) -> None:
    env = {"KAFKA_BOOTSTRAP": kafka.bootstrap, "TOPIC": f"{pipeline.prefix}task.results", "GROUP": pipeline.prefix}
    async with Callstream.over_kafka(kafka.bootstrap, prefix=pipeline.prefix) as client:
        task_id = await client.submit("calculation", message=[ITEM])
    with Service("consumer", env=env, directory=tmp_path, program=python("consume_results.py")(tmp_path)) as example:
        line = f"{task_id} calculation [{{'sum': 42.0}}] []"
        await eventually(lambda: line in example.read_log(), 20, example.log_tail)
