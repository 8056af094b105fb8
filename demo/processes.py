"""The demo's processes, each with a log of its own."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from cli.children import child
from demo.failure import StepError

CALLSTREAM = str(Path(sys.executable).with_name("callstream"))

_READY = re.compile(r"\b[a-z_]+\.ready\b")
_START_DEADLINE = 60  # seconds
_LOOK_AGAIN = 0.05  # seconds


class Process:
    def __init__(self, name: str, log: Path, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self.log = log
        self._process = process

    def check(self, step: str) -> None:
        """Raise a StepError of `step` if the process has ended."""
        if self._process.returncode is not None:
            raise StepError(step, f"it ended with exit code {self._process.returncode}", self.log)

    async def wait_until_ready(self) -> None:
        step = f"starting {self.name}"
        try:
            async with asyncio.timeout(_START_DEADLINE):
                while not _READY.search(self.log.read_text(errors="replace")):
                    self.check(step)
                    await asyncio.sleep(_LOOK_AGAIN)
        except TimeoutError:
            raise StepError(step, f"it was not ready within {_START_DEADLINE} s", self.log) from None

    async def wait_until_done(self) -> None:
        if exit_code := await self._process.wait():
            raise StepError(f"running {self.name}", f"it ended with exit code {exit_code}", self.log)


@asynccontextmanager
async def running(
    name: str, *command: str, env: Mapping[str, str], directory: Path, program: str
) -> AsyncIterator[Process]:
    """Run `callstream <command>`, or another `program` in its place, for the length of the block."""
    log = directory / f"{name}.log"
    with log.open("wb") as output:
        async with child(program, *command, output=output.fileno(), env=env, directory=directory) as process:
            yield Process(name, log, process)
