"""Child processes that end with us, however we end."""

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from cli.errors import CommandError

_STOP_GRACE = 20  # seconds until a child that was asked to stop is killed
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def _end_with_parent() -> Callable[[], None] | None:
    """Return what a child runs before its program: it then dies with us even if we are killed by SIGKILL."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl  # looked up here: after the fork is no time to load libraries
    parent = os.getpid()

    def before_exec() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # we died before it was set
            os._exit(1)

    return before_exec


@asynccontextmanager
async def child(
    *command: str, output: int | None = None, env: Mapping[str, str] | None = None, directory: Path | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run `command` for the length of the block; all that it prints goes to `output`, or else to our stderr."""
    output = sys.stderr.fileno() if output is None else output
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=env,
        cwd=directory,
        start_new_session=True,  # Ctrl-C, and what honcho sends to a group, reaches us alone: we say when it ends
        preexec_fn=_end_with_parent(),
    )
    try:
        yield process
    finally:
        await _end(process)


async def run_to_end(*command: str, quiet: bool = False) -> None:
    """Run `command` and wait for it; `quiet` shows its output only if it fails.

    Raises:
        CommandError: it failed.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE if quiet else sys.stderr.fileno(),
        stderr=asyncio.subprocess.STDOUT if quiet else None,
        preexec_fn=_end_with_parent(),
    )
    try:
        output, _ = await process.communicate()
    finally:
        await _end(process)
    if process.returncode:
        sys.stderr.write((output or b"").decode(errors="replace"))
        raise CommandError(f"failed with exit code {process.returncode}: {' '.join(command)}", exit_code=1)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(_STOP_GRACE):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
