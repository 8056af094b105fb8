"""How a process ends: when, why, and that it does (docs/decisions/0024-a-process-that-is-to-stop-ends.md)."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import NoReturn

import uvloop

from callstream.runtime.logs import get_logger
from callstream.runtime.watchdog import Watchdog

log = get_logger()

# Seconds beyond the drain. Ten in all: those who stop us are told to grant them.
APP_MARGIN = 6.0  # in which Faust's own services must end
PROCESS_MARGIN = 8.0  # in which everything must; the watchdog's means take up to two more


class Ending:
    """When and why the process ends: a signal, or the first failure that only a restart can mend.

    From then on the watchdog counts.
    """

    def __init__(self, watchdog: Watchdog) -> None:
        self._watchdog = watchdog
        self._event = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.failure: BaseException | None = None
        self.asked = False  # by a signal
        for number in (signal.SIGTERM, signal.SIGINT):
            # Not the loop's own handlers: while the loop is stuck they would not be called.
            signal.signal(number, lambda *_: self._ask())

    @property
    def seconds(self) -> float:
        """How long the process may take to end."""
        return self._watchdog.seconds

    def fail(self, error: BaseException) -> None:
        self.failure = self.failure or error
        self._begin()

    async def wait(self) -> None:
        await self._event.wait()

    def _ask(self) -> None:
        self.asked = True
        self._begin()

    def _begin(self) -> None:
        self._watchdog.arm()
        self._loop.call_soon_threadsafe(self._event.set)


def run_to_the_end(process: str, drain: timedelta, main: Callable[[Ending], Awaitable[None]]) -> NoReturn:
    """Run a process' main coroutine on uvloop, and end with 0 after a signal, with 1 after a failure of any kind.

    It is gone at the latest `drain` and ten seconds after it was told to stop, or failed.
    """
    # A policy and not a loop factory: Faust's consumer makes a loop of its own, in its own thread.
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    exit_code = 1
    watchdog = Watchdog(process, drain.total_seconds() + PROCESS_MARGIN)
    try:
        loop = asyncio.new_event_loop()
        exit_code = _run(loop, loop.create_task(_exit_code(process, watchdog, main)))
    except BaseException as error:
        watchdog.arm()
        log.exception("process.failed", process=process, error=repr(error))
    finally:
        # Neither the loop is closed nor threads are joined: what is ours is closed by now, and what is left is Faust's,
        # which waits for ever for a broker that is gone. Standard error has no buffer that could hold something back.
        os._exit(exit_code)


def _run(loop: asyncio.AbstractEventLoop, main: asyncio.Task[int]) -> int:
    """Run the loop until `main` is done, whatever a task of a handler raises.

    SystemExit and KeyboardInterrupt asyncio also throws through the loop, beside giving them to who awaits the task.
    """
    while True:
        try:
            return loop.run_until_complete(main)
        except (SystemExit, KeyboardInterrupt) as error:
            if main.done():
                raise
            log.warning("loop.goes-on", error=repr(error), exc_info=error)


async def _exit_code(process: str, watchdog: Watchdog, main: Callable[[Ending], Awaitable[None]]) -> int:
    ending = Ending(watchdog)
    try:
        await main(ending)
    except BaseException as error:
        ending.fail(error)
        log.exception("process.failed", process=process, error=repr(error))
    exit_code = 0 if ending.failure is None else 1
    log.info("process.stopped", process=process, exit_code=exit_code)
    return exit_code
