"""SIGTERM and Ctrl-C: what is under way is ended, what is not yet begun is left to the next start."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from aiokafka import AIOKafkaProducer

from tests.e2e import crashing_consumer
from tests.support.kafka import Kafka
from tests.support.pipeline import pipeline_on
from tests.support.processes import CALLSTREAM, Service, run_to_end
from tests.support.receiver import receiving
from tests.support.waiting import eventually, free_port

COUNT = 20


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_delivers_what_is_under_way_once_and_exits_0(
    kafka: Kafka, prefix: str, tmp_path: Path, number: signal.Signals
) -> None:
    env = {"CALLSTREAM_TOPICS__PREFIX": prefix, "CALLSTREAM_TOPICS__PARTITIONS": "2"}
    async with receiving() as receiver, pipeline_on(kafka.bootstrap, tmp_path, env) as pipeline:
        receiver.delay = lambda: 0.5
        await pipeline.submit_many(range(COUNT), receiver.url)
        await eventually(lambda: receiver.calls.total() == COUNT, 20, pipeline.callbacks.log_tail)
        for service in (pipeline.gateway, pipeline.tasks, pipeline.callbacks):
            psutil.Process(service.pid).send_signal(number)
        for service in (pipeline.gateway, pipeline.tasks, pipeline.callbacks):
            assert await service.wait() == 0
        for service in (pipeline.gateway, pipeline.tasks, pipeline.callbacks):
            service.start()
            await service.wait_until_ready()
        # What comes behind in every partition shows that nothing of before is repeated.
        await pipeline.submit_many(range(COUNT, 2 * COUNT), receiver.url)
        await eventually(lambda: not pipeline.lost(receiver.bodies), 20, pipeline.callbacks.log_tail)
        assert receiver.duplicates == 0
        assert not pipeline.wrong(receiver.bodies)


@pytest.mark.parametrize("kind", ["tasks", "callbacks"])
async def test_a_process_whose_consumer_crashes_ends_with_1(
    kind: str, kafka: Kafka, prefix: str, tmp_path: Path
) -> None:
    """Faust cancels what is under way in its thread then, a commit among it, and so the stop that awaits that."""
    env = {
        "CALLSTREAM_KAFKA__BOOTSTRAP": kafka.bootstrap,
        "CALLSTREAM_TOPICS__PREFIX": prefix,
        "CALLSTREAM_TOPICS__PARTITIONS": "1",
        f"CALLSTREAM_{kind.upper()}__DRAIN": "0",
    }
    exit_code, output = await run_to_end("topics", env=env, directory=tmp_path)
    assert exit_code == 0, output
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
        for topic in ("calculation.requests", "task.results"):
            await producer.send_and_wait(f"{prefix}{topic}", b"{}")
    program = (sys.executable, crashing_consumer.__file__)
    with Service(kind, env=env, directory=tmp_path, program=program) as crashing:
        assert await crashing.wait(60) == 1
        assert "process.failed" in crashing.read_log()


@pytest.fixture
def as_first_process() -> tuple[str, ...]:
    """What runs a command as the first process of a name space, as a container does."""
    unshare = ("unshare", "--user", "--map-root-user", "--fork", "--pid")
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine gives no name space for processes")
    return unshare


async def test_the_first_process_of_a_container_hears_sigterm_before_it_serves(
    as_first_process: tuple[str, ...], tmp_path: Path
) -> None:
    """The kernel keeps a signal without a handler from it, and services set theirs late."""
    env = {"CALLSTREAM_KAFKA__BOOTSTRAP": f"127.0.0.1:{free_port()}"}
    program = (*as_first_process, CALLSTREAM)
    with Service("topics", "--wait", "60", env=env, directory=tmp_path, program=program) as service:
        first = (await eventually(lambda: psutil.Process(service.pid).children()))[0]
        await eventually(lambda: hears(first, signal.SIGTERM), 20, service.log_tail)
        first.terminate()
        assert await service.wait() != 0


def hears(process: psutil.Process, number: signal.Signals) -> bool:
    """Return whether a process catches a signal."""
    caught = re.search(r"^SigCgt:\s+([0-9a-f]+)$", Path(f"/proc/{process.pid}/status").read_text(), re.MULTILINE)
    return bool(caught and int(caught[1], 16) & 1 << (number - 1))
