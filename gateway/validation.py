"""Validates a body: a small one at once, a large one in a process of its own, so that the event loop goes on."""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Self

from callstream.runtime.logs import get_logger
from callstream.tasks import Task
from gateway.body_errors import body_errors
from gateway.problems import ProblemError, ValidationProblem
from gateway.validation_worker import READY, SIZE_BYTES

log = get_logger()
LARGE = 32 * 1024  # bytes, which take up to 7 ms, see docs/decisions/0014
_MEMORY_BASE = 16 * 2**20  # bytes that the process may take beyond what it starts with
_MEMORY_A_BYTE = 72  # and for each byte of the largest body; the worst takes 70, measured
_COME_AGAIN = 1  # seconds


class Validator:
    """Validates bodies of at most `body_limit` bytes and `item_limit` items, each within `deadline` seconds.

    Large ones have their turn one after another, in a process that starts with the first.
    """

    def __init__(self, body_limit: int, item_limit: int, deadline: float) -> None:
        self._item_limit = item_limit
        self._memory = _MEMORY_BASE + _MEMORY_A_BYTE * body_limit
        self._deadline = deadline
        self._turn = asyncio.Lock()
        self._worker: _Worker | None = None
        self._asked: set[asyncio.Task[bytes]] = set()

    async def validate(self, task: Task, body: bytes, by: float) -> None:
        """Return if `body` is one of `task`'s; give up `by` then (in the loop's time).

        Raises:
            ValidationProblem: it is none.
            ProblemError: that is not known: it would be too late, or the process died.
        """
        if len(body) <= LARGE:
            errors = body_errors(task, body, self._item_limit)
        else:
            errors = await self._errors_elsewhere(task, body, by)
        if errors:
            raise ValidationProblem(errors)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """End the process, if there is one, with the block."""
        try:
            yield
        finally:
            for asked in self._asked:
                asked.cancel()
            if self._worker is not None:
                await self._worker.end()

    async def _errors_elsewhere(self, task: Task, body: bytes, by: float) -> bytes:
        try:
            async with asyncio.timeout_at(by):
                await self._turn.acquire()
                # Who asked may give up, and the process goes on: to start another would take the next one's time.
                asked = asyncio.create_task(self._ask(task.name, body))
                self._asked.add(asked)
                asked.add_done_callback(self._answered)
                return await asyncio.shield(asked)
        except TimeoutError:
            raise _unknown("too many large bodies are validated") from None
        except (asyncio.IncompleteReadError, OSError):
            raise _unknown("the process that validates large bodies died") from None

    async def _ask(self, name: str, body: bytes) -> bytes:
        """Ask the process, another one if it died; end it if it does not answer in time."""
        if self._worker is None or self._worker.ended:
            self._worker = await _Worker.start(self._item_limit, self._memory)
        try:
            async with asyncio.timeout(self._deadline):
                return await self._worker.ask(name, body)
        except BaseException as error:
            log.warning("validation-process.ended", pid=self._worker.pid, bytes=len(body), reason=repr(error))
            await self._worker.end()
            raise

    def _answered(self, asked: asyncio.Task[bytes]) -> None:
        self._asked.discard(asked)
        self._turn.release()
        if not asked.cancelled():
            asked.exception()  # seen, also where nobody waits any more


def _unknown(why: str) -> ProblemError:
    return ProblemError(503, f"nothing was stored: {why}", retry_after=_COME_AGAIN)


class _Worker:
    """A process that runs `gateway.validation_worker`."""

    def __init__(self, process: Process) -> None:
        assert process.stdin is not None  # noqa: S101 - for mypy; they are pipes
        assert process.stdout is not None  # noqa: S101 - likewise
        self._process = process
        self._to, self._from = process.stdin, process.stdout
        self._is_ready = False

    @classmethod
    async def start(cls, item_limit: int, memory: int) -> Self:
        # A session of its own: Ctrl-C is ours to hear. -P: no module of the directory that we were started in shall
        # stand in for one of ours.
        program = (sys.executable, "-P", "-m", "gateway.validation_worker", str(item_limit), str(memory))
        return cls(await asyncio.create_subprocess_exec(*program, stdin=PIPE, stdout=PIPE, start_new_session=True))

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ended(self) -> bool:
        return self._process.returncode is not None

    async def ask(self, name: str, body: bytes) -> bytes:
        if not self._is_ready:
            self._is_ready = await self._from.readexactly(len(READY)) == READY
        for part in (name.encode(), body):
            self._to.write(len(part).to_bytes(SIZE_BYTES))
            self._to.write(part)
        await self._to.drain()
        size = int.from_bytes(await self._from.readexactly(SIZE_BYTES))
        return await self._from.readexactly(size)

    async def end(self) -> None:
        if not self.ended:
            with suppress(ProcessLookupError):
                self._process.kill()
        self._to.close()
        await self._process.wait()
