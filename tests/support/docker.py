"""The machine's Docker engine, and our compose file on it."""

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from secrets import randbelow, token_hex
from typing import Any

import pytest

from tests.support.waiting import free_port

ROOT = Path(__file__).parents[2]
IMAGE = "callstream:test"
_PATIENCE = 280  # seconds; a build, and an engine that is busy


@cache
def docker_answers() -> bool:
    if shutil.which("docker") is None:
        return False
    try:
        return subprocess.run(["docker", "info"], capture_output=True, timeout=5, check=False).returncode == 0  # noqa: S607 - the user's own docker
    except subprocess.TimeoutExpired:
        return False


def need_docker() -> None:
    if docker_answers():
        return
    if os.environ.get("CI_DOCKER") == "true":
        pytest.fail("no Docker engine answers, where there should be one")
    pytest.skip("no Docker engine answers")


async def docker(*command: str, env: dict[str, str] | None = None) -> str:
    """Return what `docker <command>` prints; its failure is the test's."""
    exit_code, output = await docker_exit(*command, env=env)
    assert exit_code == 0, f"docker {' '.join(command)}\n{output}"
    return output


async def docker_exit(*command: str, env: dict[str, str] | None = None) -> tuple[int | None, str]:
    """Return the exit code of `docker <command>` and all that it prints."""
    process = await asyncio.create_subprocess_exec(
        "docker",
        *command,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(_PATIENCE):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, output.decode(errors="replace")


class Compose:
    """A project of the test's own: other names, ports and addresses than a developer's."""

    def __init__(self) -> None:
        self.gateway, self.receiver = free_port(), free_port()
        network = f"10.{200 + randbelow(50)}.{randbelow(256)}"
        self.receiver_address = f"{network}.250"
        self._project = f"callstream-{token_hex(4)}"
        self._env = {
            "IMAGE": IMAGE,
            "GATEWAY_PORT": str(self.gateway),
            "RECEIVER_PORT": str(self.receiver),
            "SUBNET": f"{network}.0/24",
            "RECEIVER_ADDRESS": self.receiver_address,
        }

    async def __call__(self, *command: str) -> str:
        file = str(ROOT / "docker-compose.kafka.yml")
        return await docker("compose", "-p", self._project, "-f", file, *command, env=self._env)

    async def containers(self, service: str = "") -> list[dict[str, Any]]:
        """Return what `docker compose ps` knows of each container."""
        output = await self("ps", "--all", "--format", "json", *filter(None, [service]))
        return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


@asynccontextmanager
async def compose() -> AsyncIterator[Compose]:
    """Give a project; nothing of it is left at the end but its image."""
    project = Compose()
    try:
        yield project
    finally:
        await project("down", "--volumes", "--remove-orphans", "--timeout", "5")
