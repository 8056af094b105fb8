"""`make up`: what ends is started again, and nothing of it is left when it ends, however that happens."""

import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psutil

from tests.support.jobs import Jobs, open_session
from tests.support.kafka import Kafka
from tests.support.processes import Service, alive
from tests.support.receiver import receiving
from tests.support.waiting import eventually, free_port

ROOT = Path(__file__).parents[2]
SERVICES = ("gateway", "tasks", "callbacks", "receiver")


class Up(Service):
    """`make up`, whose processes are honcho's descendants."""

    def named(self, service: str) -> psutil.Process | None:
        """Return the process that runs `callstream <service>` itself, and not what keeps it running."""
        for process in self.with_children():
            with suppress(psutil.Error):
                if f"/callstream {service}" in " ".join(process.cmdline()):
                    return process
        return None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._env['GATEWAY_PORT']}"

    @property
    def honcho(self) -> psutil.Process:
        return next(one for one in self.with_children() if "honcho" in " ".join(one.cmdline()[:2]))


def make_up(bootstrap: str, directory: Path, env: Mapping[str, str]) -> Up:
    """Return `make up` on ports of its own, with the tests' own binaries."""
    binaries = os.path.relpath(Path(sys.executable).parent, ROOT)
    make = ("make", "-C", str(ROOT), f"BIN={binaries}", "-o", f"{binaries}/.runtime", f"BROKER={bootstrap}")
    ports = {name: str(free_port()) for name in ("GATEWAY_PORT", "RECEIVER_PORT")}
    return Up("up", env={**env, **ports}, directory=directory, program=make)


@asynccontextmanager
async def running(service: Up) -> AsyncIterator[list[psutil.Process]]:
    """Give every process of `make up` once all services run; none is left after the block."""
    with service:
        await eventually(lambda: all(map(service.named, SERVICES)), 60, service.log_tail)
        family = service.with_children()
        try:
            yield family
        finally:
            family += service.with_children() if service.running else []
            service.terminate()
            await nobody_lives(family)


async def nobody_lives(family: list[psutil.Process]) -> None:
    await eventually(lambda: not any(map(alive, family)), 40, lambda: str([*filter(alive, family)]))


async def test_every_process_that_is_killed_comes_back_and_a_job_is_delivered(
    kafka: Kafka, prefix: str, tmp_path: Path
) -> None:
    env = {"CALLSTREAM_TOPICS__PREFIX": prefix, "CALLSTREAM_KAFKA__SESSION_TIMEOUT": "6"}
    service = make_up(kafka.bootstrap, tmp_path, env)
    async with receiving() as receiver, running(service), open_session() as session:
        jobs = Jobs(url=service.url, session=session)

        async def comes_back(name: str) -> None:
            killed = service.named(name)
            assert killed is not None
            killed.kill()
            await eventually(lambda: service.named(name) not in {None, killed}, 30, service.log_tail)

        for name in SERVICES:
            await comes_back(name)
        await jobs.submit(1, receiver.url)
        await eventually(lambda: not jobs.lost(receiver.bodies), 60, service.log_tail)
        assert service.read_log().count("ended with exit code 137; it is started again in 1 s") == len(SERVICES)


async def test_when_honcho_is_killed_no_process_is_left(kafka: Kafka, prefix: str, tmp_path: Path) -> None:
    service = make_up(kafka.bootstrap, tmp_path, {"CALLSTREAM_TOPICS__PREFIX": prefix})
    async with running(service) as family:
        service.honcho.kill()
        await nobody_lives(family)


async def test_a_setting_that_cannot_be_used_is_told_once_and_ends_it(kafka: Kafka, tmp_path: Path) -> None:
    with make_up(kafka.bootstrap, tmp_path, {"CALLSTREAM_TASKS__IN_FLIGHT": "none"}) as service:
        await service.wait()
        log = service.read_log()
        assert "CALLSTREAM_TASKS__IN_FLIGHT" in log
        assert "Error 2" in log
        assert "started again" not in log
