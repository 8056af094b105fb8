"""Our own commands as real processes."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from tests.support.waiting import eventually

CALLSTREAM = str(Path(sys.executable).with_name("callstream"))

_READY = re.compile(r"\b[a-z_]+\.ready\b")
_TAIL = 40  # lines


class Service:
    """`callstream <command>` as a process of its own, from `start()` or the beginning of a `with` block to its end.

    `program` may stand in for `callstream`. `env` is added to an environment without any CALLSTREAM_ variable; the
    process runs in `directory`, where no `.env` is found and its log is kept over restarts.
    """

    def __init__(
        self,
        *command: str,
        env: Mapping[str, str] | None = None,
        directory: Path,
        program: Sequence[str] = (CALLSTREAM,),
    ) -> None:
        self._command = [*program, *command]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("CALLSTREAM_")}
        self._env = {**inherited, "CALLSTREAM_LOG_FORMAT": "json", **(env or {})}
        self._directory = directory
        name = "-".join(part for part in command if part.isalnum())
        taken = len(list(directory.glob(f"{name}.*.log")))
        self.log = directory / f"{name}.{taken}.log"
        self.log.touch()
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    def start(self) -> Self:
        """Start the process, for the first time or again after its end."""
        assert not self.running, "it runs already"
        self._log_start = self.log.stat().st_size
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, env=self._env, cwd=self._directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        return self

    async def wait_until_ready(self, deadline: float = 120) -> None:
        """Wait for this start's `*.ready` line."""

        def ready_or_ended() -> bool:
            return bool(_READY.search(self.read_log())) or not self.running

        await eventually(ready_or_ended, deadline, what=self.log_tail)
        assert self.running, f"{self} ended with {self.exit_code} before it was ready\n{self.log_tail()}"

    @property
    def pid(self) -> int:
        return self._started.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        return self._started.poll()

    def kill(self) -> None:
        """SIGKILL, and wait for the end; its children must end by themselves."""
        self._started.kill()
        self._started.wait()

    def terminate(self) -> None:
        """SIGTERM, without waiting."""
        self._started.terminate()

    async def wait(self, deadline: float = 40) -> int:
        """Return the exit code when the process has ended."""
        await eventually(lambda: not self.running, deadline, what=self.log_tail)
        return self._started.wait()

    async def stop(self, deadline: float = 40) -> int:
        """SIGTERM; return the exit code."""
        self.terminate()
        return await self.wait(deadline)

    def with_children(self) -> list[psutil.Process]:
        process = psutil.Process(self.pid)
        return [process, *process.children(recursive=True)]

    def read_log(self) -> str:
        """Return what was logged since the last start."""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def log_tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-_TAIL:]
        return "\n".join([f"--- {self.log.name}:", *lines])

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """End the process, whatever its state, and what it started; nothing if it does not run."""
        if self._process is None or self._process.poll() is not None:
            return
        family = self.with_children()
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()  # a stopped process (SIGSTOP) would not hear SIGTERM
        self._process.wait()
        psutil.wait_procs(family[1:], timeout=10)

    def __str__(self) -> str:
        return " ".join(self._command)

    @property
    def _started(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, f"{self} was not started"
        return self._process


def alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


async def run_to_end(
    *command: str, env: Mapping[str, str] | None = None, directory: Path, deadline: float = 60
) -> tuple[int, str]:
    """Run `callstream <command>` to its end; return its exit code and all that it printed."""
    with Service(*command, env=env, directory=directory) as service:
        async with asyncio.timeout(deadline):
            exit_code = await service.wait(deadline)
        return exit_code, service.read_log()
