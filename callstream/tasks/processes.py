"""Runs handlers in a bounded number of processes: one that does not end is killed, one that dies is replaced."""

import asyncio
import os
import pickle
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Self

import structlog

from callstream.contract.messages import Item
from callstream.contract.raw_json import RawJson
from callstream.sharing.lanes import Places
from callstream.tasks.outcome import Failed
from callstream.tasks.registry import Task, TaskError
from callstream.tasks.worker import FAILED, SIZE_BYTES

log = structlog.get_logger()


class Processes:
    """Runs at most `most` items of so many task types at once, each in a process that has no other at the time."""

    def __init__(self, most: int, types: int) -> None:
        self._places = Places(most, types)
        self._idle: list[_Worker] = []

    async def run(self, task: Task, item: Item, begun: Callable[[], None]) -> RawJson | Failed:
        handler = f"{task.handler.__module__}:{task.handler.__qualname__}"
        pickled = pickle.dumps(item)
        await self._places.take(task.name)
        try:
            worker = await self._loaded(handler)
            begun()
            async with _ended_by_errors(worker):
                answer = await worker.ask(handler, pickled)
            self._idle.append(worker)
        finally:
            self._places.give_back(task.name)
        return answer

    async def close(self) -> None:
        while self._idle:
            await self._idle.pop().end()

    async def _loaded(self, handler: str) -> "_Worker":
        """Return a process that has imported the handler: an idle one if it still answers, else a new one."""
        while self._idle:
            worker = self._idle.pop()
            with suppress(_DiedError):
                async with _ended_by_errors(worker):
                    await worker.load(handler)
                return worker
        worker = await _Worker.start()
        async with _ended_by_errors(worker):
            await worker.load(handler)
        return worker


@asynccontextmanager
async def _ended_by_errors(worker: "_Worker") -> AsyncIterator[None]:
    """End a process that is dead, or at work for nobody any more: it must not meet the next item."""
    try:
        yield
    except BaseException as error:
        log.warning("item-process.ended", pid=worker.pid, reason=repr(error))
        await worker.end()
        raise


class _DiedError(TaskError):
    pass


class _Worker:
    """A process that runs `callstream.tasks.worker`."""

    def __init__(self, process: Process) -> None:
        assert process.stdin is not None  # noqa: S101 - for mypy; they are pipes
        assert process.stdout is not None  # noqa: S101 - likewise
        self._process = process
        self._to, self._from = process.stdin, process.stdout

    @classmethod
    async def start(cls) -> Self:
        # A group of its own: Ctrl-C is ours to hear, and what a handler starts ends with it. -P: no module of the
        # directory that we were started in shall stand in for one of ours.
        program = (sys.executable, "-P", "-m", "callstream.tasks.worker")
        return cls(await asyncio.create_subprocess_exec(*program, stdin=PIPE, stdout=PIPE, start_new_session=True))

    @property
    def pid(self) -> int:
        return self._process.pid

    async def load(self, handler: str) -> None:
        """Let the process import the handler, which takes its time at the first and none after that."""
        if isinstance(failed := await self.ask(handler), Failed):
            raise TaskError(failed.text)

    async def ask(self, handler: str, pickled: bytes | None = None) -> RawJson | Failed:
        """Return what becomes of the item; without one, the handler is no more than loaded."""
        question = pickle.dumps((handler, pickled))
        try:
            self._to.write(len(question).to_bytes(SIZE_BYTES) + question)
            await self._to.drain()
            size = int.from_bytes(await self._from.readexactly(SIZE_BYTES))
            answer = await self._from.readexactly(size)
        except (asyncio.IncompleteReadError, OSError):
            await self.end()
            raise _DiedError(f"the process that ran it ended with {_exit(self._process.returncode)}") from None
        if answer[:1] == FAILED:
            return Failed(answer[1:].decode())
        return RawJson(answer[1:])

    async def end(self) -> None:
        """Kill it and what it has started."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        self._to.close()
        await self._process.wait()


def _exit(code: int | None) -> str:
    return signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"
