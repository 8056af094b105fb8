"""Processes whose stop goes wrong in every way, in a process of its own each: `python -m tests.support.endings`.

It imports all once and forks for each case, which then takes milliseconds. It prints a JSON object: for each case, as
`WAY/STEP/BEGINNING`, the exit code (negative: the signal; null: it had to be killed) and what it logged.
"""

import asyncio
import ctypes
import itertools
import json
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

from aiohttp import web

from callstream.runtime import watchdog
from callstream.runtime.logs import configure_logging
from callstream.runtime.settings import Settings
from callstream.sharing.room import Room, Size
from stream_app import ending, service
from stream_app.ending import Ending, run_to_the_end
from stream_app.kafka_app import KafkaApp
from stream_app.service import Plan, serve
from stream_app.workload import Workload

_PATIENCE = 60.0  # seconds for all of them
_LONG = 3_600.0

Step = Callable[..., Awaitable[Any]]


async def _well(*_: object, **__: object) -> None:
    """Do nothing, at once."""


def _raising(kind: type[BaseException]) -> Step:
    async def fail(*_: object, **__: object) -> None:
        await asyncio.sleep(0)
        raise kind("from a step")

    return fail


async def _hang(*_: object, **__: object) -> None:
    await asyncio.Event().wait()


async def _hang_deaf(*_: object, **__: object) -> None:
    while True:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()


async def _block(*_: object, **__: object) -> None:
    time.sleep(_LONG)  # noqa: ASYNC251 - that is the point


async def _block_with_the_lock(*_: object, **__: object) -> None:
    ctypes.PyDLL(None).sleep(int(_LONG))  # unlike CDLL, it keeps the interpreter's lock


async def _cancel_all(*_: object, **__: object) -> None:
    for task in asyncio.all_tasks():
        task.cancel()
    await asyncio.sleep(0)


async def _talk_to_nobody(*_: object, **__: object) -> None:
    reader, writer = os.pipe()
    os.dup2(writer, 2)
    while True:
        os.write(2, bytes(2**16))  # blocks when the pipe is full
    os.close(reader)


WAYS: dict[str, Step] = {
    "exception": _raising(RuntimeError),
    "cancelled": _raising(asyncio.CancelledError),
    "base-exception": _raising(BaseException),
    "exit": _raising(SystemExit),
    "interrupt": _raising(KeyboardInterrupt),
    "hang": _hang,
    "deaf": _hang_deaf,
    "block": _block,
    "lock": _block_with_the_lock,
    "cancel-all": _cancel_all,
    "full-stderr": _talk_to_nobody,
}
STEPS = ["app.stop", "health.cleanup", "composition.close"]  # what is awaited when the process stops
START_STEPS = ["topics", "app.start"]  # what a stop may find under way
BEGINNINGS = ["signal", "signals", "failure", "crash"]


class App:
    """Stands for the Kafka app."""

    drain_seconds = 0.2

    def __init__(self) -> None:
        self.started = False
        self.crash_reason: BaseException | None = None
        self.assigned = asyncio.Event()
        self.crashed = asyncio.Event()
        self.workload: Any = None
        self.consumer: Any = type("Consumer", (), {"assignment": lambda _: set()})()

    async def start(self) -> None:
        self.started = True
        await self.steps["app.start"]()
        self.assigned.set()

    async def stop(self) -> None:
        await self.steps["app.stop"]()

    async def wait_until_stopped(self) -> None:
        await self.crashed.wait()

    async def ping(self) -> None: ...

    steps: dict[str, Step]


@asynccontextmanager
async def _composition(close: Step) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await close()


async def _end(how: str, app: App, end: Ending) -> None:
    """Begin the end of the process once it has started, or while it is about to."""
    match how:
        case "signal" | "signals":
            # From a thread, for the loop may be stuck by then.
            for number in range(1 if how == "signal" else 5):
                threading.Timer(0.1 + number * 0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
        case "failure":
            end.fail(RuntimeError("the first failure"))
        case "crash":
            app.crash_reason = RuntimeError("it crashed")
            app.crashed.set()


def run_case(way: str, step: str, beginning: str) -> NoReturn:
    steps = dict.fromkeys((*STEPS, *START_STEPS), _well) | {step: WAYS[way]}
    App.steps = steps
    setattr(service, "await_topics", steps["topics"])  # noqa: B010 - it is imported there
    cleanup = web.AppRunner.cleanup

    async def cleaned_up(runner: web.AppRunner) -> None:
        await steps["health.cleanup"]()
        await cleanup(runner)

    web.AppRunner.cleanup = cleaned_up  # type: ignore[method-assign,assignment]
    settings = Settings()

    async def compose(end: Ending) -> None:
        stand_in = App()
        app: KafkaApp = stand_in  # type: ignore[assignment]
        flow: Any = None
        async with _composition(steps["composition.close"]):
            workload = Workload(_well, span=1, room=Room(Size(1, 2**30), lanes=1), flow=flow, fail=end.fail)
            stand_in.workload = workload
            ended = asyncio.ensure_future(_end(beginning, stand_in, end))
            plan = Plan("tasks", [], lambda _: None, timedelta(0), socket.create_server(("127.0.0.1", 0)))
            await serve(app, workload, end, settings, plan)
            await ended

    run_to_the_end("tasks", timedelta(seconds=App.drain_seconds), compose)


def cases() -> list[str]:
    stopping = itertools.product(WAYS, STEPS, ["signal", "failure"])
    twice = itertools.product(["hang", "block", "exception"], STEPS, ["signals", "crash"])
    # Python itself does not hear a signal while the lock is kept; what keeps it does not do so for ever.
    starting = itertools.product(sorted(WAYS.keys() - {"lock"}), START_STEPS, ["signal"])
    return ["/".join(case) for case in itertools.chain(stopping, twice, starting)]


def main() -> None:
    ending.PROCESS_MARGIN, watchdog._LATER = 0.6, 0.3
    setattr(service, "APP_MARGIN", 0.3)  # noqa: B010 - it is imported there
    directory = Path(tempfile.mkdtemp())
    running = {}
    for case in cases():
        log = directory / case.replace("/", "+")
        if (pid := os.fork()) == 0:
            os.dup2(os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND), 2)
            configure_logging("info", "json")
            run_case(*case.split("/"))
        running[pid] = case, log
    json.dump(_outcomes(running), sys.stdout)


def _outcomes(running: dict[int, tuple[str, Path]]) -> dict[str, tuple[int | None, str]]:
    outcomes: dict[str, tuple[int | None, str]] = {}
    deadline = time.monotonic() + _PATIENCE
    while running and time.monotonic() < deadline:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid:
            case, log = running.pop(pid)
            outcomes[case] = os.waitstatus_to_exitcode(status), log.read_text()
        else:
            time.sleep(0.01)
    for pid, (case, log) in running.items():
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        outcomes[case] = None, log.read_text()
    return outcomes


if __name__ == "__main__":
    main()
