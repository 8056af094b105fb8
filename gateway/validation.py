"""Validates a body: a small one in the event loop, a large one in a process of its own, so that the loop goes on."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Self

from callstream.runtime.logs import get_logger
from callstream.sharing.turns import Turns
from callstream.tasks import Task
from gateway.body_errors import body_errors
from gateway.problems import ProblemError, ValidationProblem
from gateway.slices import Slices
from gateway.validation_worker import READY, SIZE_BYTES

log = get_logger()
LARGE = 16 * 1024  # bytes, which take up to 2 ms, see docs/decisions/0014
_SLICE = 0.005  # seconds of each of the loop's turns that go to small bodies
_MEMORY_BASE = 16 * 2**20  # bytes that the process may take beyond what it starts with
_MEMORY_A_BYTE = 72  # and for each byte of the largest body; the worst takes 58, measured, as `check_density` bounds it
_TIME_BASE = 0.5  # seconds of a core that a body may take
_TIME_A_BYTE = 1.0 / 2**20  # and for each byte of the largest body; the worst takes 0.3 / 2**20, measured
_COME_AGAIN = 1  # seconds
_TOO_MANY = "too many bodies are validated"
_TOO_DEAR = "nothing was stored: to validate the body takes more memory or time than a body may"
_EXIT = 1.0  # seconds until a process that closed its output is gone
_KILLS = {-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP}  # which no body sends


class Validator:
    """Validates bodies of at most `body_limit` bytes and `item_limit` items, each within `deadline` seconds.

    Small ones share a part of the loop's time, large ones have their turn one after another, in a process that starts
    with the first. Of both, one client after the other has its turn.
    """

    def __init__(self, body_limit: int, item_limit: int, deadline: float) -> None:
        self._item_limit = item_limit
        self._memory = _MEMORY_BASE + _MEMORY_A_BYTE * body_limit
        self._seconds = _TIME_BASE + _TIME_A_BYTE * body_limit
        self._deadline = deadline
        self._slices = Slices(_SLICE)
        self._turns = Turns()
        self._worker: _Worker | None = None
        self._asked: set[asyncio.Task[bytes]] = set()
        self._is_closing = False

    async def validate(self, task: Task, body: bytes, client: str, by: float) -> None:
        """Return if `body`, which `client` sent, is one of `task`'s; give up `by` then (in the loop's time).

        Raises:
            ValidationProblem: it is none.
            ProblemError: that is not known: it would be too late, it would take too much, or the process died.
        """
        if len(body) <= LARGE:
            errors = await self._errors_here(task, body, client, by)
        else:
            errors = await self._errors_elsewhere(task, body, client, by)
        if errors:
            raise ValidationProblem(errors)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """End the process, if there is one, with the block; none is started from then on."""
        try:
            yield
        finally:
            self._is_closing = True
            for asked in self._asked:
                asked.cancel()
            await asyncio.gather(*self._asked, return_exceptions=True)
            if self._worker is not None:
                await self._worker.end()

    async def _errors_here(self, task: Task, body: bytes, client: str, by: float) -> bytes:
        try:
            return await self._slices.run(client, partial(body_errors, task, body, self._item_limit), by)
        except TimeoutError:
            raise _unknown(_TOO_MANY) from None

    async def _errors_elsewhere(self, task: Task, body: bytes, client: str, by: float) -> bytes:
        if asyncio.get_running_loop().time() >= by:
            raise _unknown(_TOO_MANY)
        try:
            async with asyncio.timeout_at(by):
                await self._turns.take(client)
                # Who asked may give up, and the process goes on: to start another would take the next one's time.
                asked = asyncio.create_task(self._ask(task.name, body))
                self._asked.add(asked)
                asked.add_done_callback(self._answered)
                return await asyncio.shield(asked)
        except TimeoutError:
            raise _unknown(_TOO_MANY) from None
        except (asyncio.IncompleteReadError, OSError):
            raise _unknown("the process that validates large bodies died") from None

    async def _ask(self, name: str, body: bytes) -> bytes:
        """Ask the process, another one if it died; end it if it does not answer in time once it is ready.

        To start it takes as long as it does: ended for being late, none would ever be ready.

        Raises:
            ProblemError: the process died of this body, and would again, or the gateway stops.
        """
        if self._is_closing:
            raise _unknown("the gateway stops")
        if self._worker is None or self._worker.ended:
            self._worker = await _Worker.start(self._item_limit, self._memory, self._seconds)
        worker = self._worker
        try:
            await worker.ready()
            async with asyncio.timeout(self._deadline):
                return await worker.ask(name, body)
        except BaseException as error:
            at_fault = isinstance(error, asyncio.IncompleteReadError | ConnectionError) and await worker.died_of_body()
            await worker.end()
            log.warning("validation-process.ended", **worker.told, bytes=len(body), reason=repr(error))
            if at_fault:
                raise ProblemError(413, _TOO_DEAR) from None
            raise

    def _answered(self, asked: asyncio.Task[bytes]) -> None:
        self._asked.discard(asked)
        self._turns.give_back()
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
    async def start(cls, item_limit: int, memory: int, seconds: float) -> Self:
        # A session of its own: Ctrl-C is ours to hear. -P: no module of the directory that we were started in shall
        # stand in for one of ours.
        limits = (str(item_limit), str(memory), str(seconds))
        program = (sys.executable, "-P", "-m", "gateway.validation_worker", *limits)
        # To trace back takes memory, and pydantic's Rust would wait for ever for what there is no more of.
        env = {**os.environ, "RUST_BACKTRACE": "0"}
        return cls(
            await asyncio.create_subprocess_exec(*program, stdin=PIPE, stdout=PIPE, start_new_session=True, env=env)
        )

    @property
    def told(self) -> dict[str, int | None]:
        return {"pid": self._process.pid, "exit_code": self._process.returncode}

    @property
    def ended(self) -> bool:
        return self._process.returncode is not None

    async def ready(self) -> None:
        """Return when the process can be asked."""
        if not self._is_ready:
            self._is_ready = await self._from.readexactly(len(READY)) == READY

    async def ask(self, name: str, body: bytes) -> bytes:
        for part in (name.encode(), body):
            self._to.write(len(part).to_bytes(SIZE_BYTES))
            self._to.write(part)
        await self._to.drain()
        size = int.from_bytes(await self._from.readexactly(SIZE_BYTES))
        return await self._from.readexactly(size)

    async def died_of_body(self) -> bool:
        """Return whether the process, whose output has ended, ended because of what it was asked.

        Else it was killed from outside, or never came to be.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(_EXIT):
                await self._process.wait()
        return self._is_ready and self._process.returncode not in {None, 0, *_KILLS}

    async def end(self) -> None:
        if not self.ended:
            with suppress(ProcessLookupError):
                self._process.kill()
        self._to.close()
        await self._process.wait()
