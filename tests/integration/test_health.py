"""Health of `tasks` and `callbacks`, as an orchestrator asks for it."""

import asyncio
import socket
from pathlib import Path

import httpx

from tests.conftest import StartService
from tests.support.kafka import OwnKafka
from tests.support.processes import run_to_end
from tests.support.waiting import eventually, free_port


async def health(port: int, path: str) -> int:
    """Return the status of an answer; 0 where nobody gives one."""
    async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
        try:
            return (await client.get(f"http://127.0.0.1:{port}/health/{path}")).status_code
        except httpx.ConnectError:
            return 0


async def test_live_is_the_process_and_ready_is_its_place_in_the_group(
    own_kafka: OwnKafka, start_service: StartService, tmp_path: Path, prefix: str
) -> None:
    env = {
        "CALLSTREAM_KAFKA__BOOTSTRAP": own_kafka.bootstrap,
        "CALLSTREAM_TOPICS__PREFIX": prefix,
        "CALLSTREAM_TASKS__DRAIN": "0",
        "CALLSTREAM_CALLBACKS__DRAIN": "0",
    }
    ports = [free_port(), free_port()]
    services = [
        start_service(kind, "--port", str(port), env=env)
        for kind, port in zip(["tasks", "callbacks"], ports, strict=True)
    ]

    async def all_are(path: str, status: int) -> bool:
        return {await health(port, path) for port in ports} == {status}

    def logs() -> str:
        return "\n".join(service.log_tail() for service in services)

    await eventually(lambda: all_are("live", 200), 30, logs)
    assert await all_are("ready", 503), "there are no topics"
    exit_code, output = await run_to_end("topics", env=env, directory=tmp_path)
    assert exit_code == 0, output
    await eventually(lambda: all_are("ready", 200), 120, logs)
    own_kafka.pause()
    assert await all_are("live", 200)
    own_kafka.kill()
    assert await all_are("live", 200)
    assert await asyncio.gather(*(service.stop() for service in services)) == [0, 0], "also without a broker"


async def test_a_port_that_is_taken_is_told_in_a_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        exit_code, output = await run_to_end("tasks", "--port", str(port), directory=tmp_path)
    assert (exit_code, output.count("\n")) == (2, 1), output
    assert f"cannot listen on 127.0.0.1:{port}" in output
