"""Runs a Faust app as a process: wait for its topics, start, say so, drain on SIGTERM or Ctrl-C."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

import uvloop

from callstream.runtime.health import health_server
from callstream.runtime.kafka import await_topics
from callstream.runtime.logs import Logger, get_logger
from callstream.runtime.settings import Settings
from stream_app.kafka_app import KafkaApp
from stream_app.liveness import Liveness
from stream_app.workload import Workload

_STOP_MARGIN = 10.0  # seconds beyond the drain in which Faust's own services must end


class Ending:
    """When and why the process ends: a signal, or the first failure that only a restart can mend."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.failure: BaseException | None = None
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._event.set)

    def fail(self, error: BaseException) -> None:
        self.failure = self.failure or error
        self._event.set()

    async def wait(self) -> None:
        await self._event.wait()


def run_loop(main: Callable[[], Awaitable[int]]) -> None:
    """Run a process' main coroutine on uvloop, and exit with the code that it returns."""
    # A policy and not a loop factory: Faust's consumer makes a loop of its own, in its own thread.
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(_to_the_end(main))


async def _to_the_end(main: Callable[[], Awaitable[int]]) -> None:
    exit_code = await main()
    sys.stderr.flush()
    # All that is ours is closed. What is left is Faust's, and waits for ever for a broker that is gone.
    os._exit(exit_code)


@dataclass(frozen=True)
class Plan:
    """What a process needs: the `topics` that must be there, and how it reads, given all topics that are there.

    A record takes it at most as long as `work`, and then the writing of what becomes of it. Its health is served on
    `health`, if at all.
    """

    name: str
    topics: list[str]
    read: Callable[[set[str]], None]
    work: timedelta
    health: socket.socket | None


async def serve(app: KafkaApp, workload: Workload, ending: Ending, settings: Settings, plan: Plan) -> int:
    """Run `app` until `ending`; return 0 after a signal, 1 after a failure."""
    liveness = Liveness(app, workload, plan.work, settings.kafka.request_timeout)

    async def unready() -> str | None:
        return None if app.assigned.is_set() else "the consumer group has not given this process its place yet"

    async with health_server(plan.health, live=liveness.trouble, ready=unready):
        return await _serve(app, workload, ending, settings, plan)


async def _serve(app: KafkaApp, workload: Workload, ending: Ending, settings: Settings, plan: Plan) -> int:
    say = get_logger().bind(process=plan.name)
    living = asyncio.create_task(_live(app, say, settings, plan))
    over = asyncio.create_task(ending.wait())
    await asyncio.wait({living, over}, return_when=asyncio.FIRST_COMPLETED)
    failure = ending.failure or (living.exception() if living.done() else None) or app.crash_reason
    if failure is not None:
        say.error("process.failed", error=repr(failure), exc_info=failure)
    say.info("process.stopping", under_way=workload.running)
    for task in (living, over):
        task.cancel()
    if app.started:
        await _stop(app, say)
    say.info("process.stopped")
    return 0 if failure is None else 1


async def _live(app: KafkaApp, say: Logger, settings: Settings, plan: Plan) -> None:
    plan.read(await await_topics(settings, plan.topics))
    await app.start()
    await app.assigned.wait()
    say.info("process.ready", partitions=len(app.consumer.assignment()))
    await app.wait_until_stopped()


async def _stop(app: KafkaApp, say: Logger) -> None:
    try:
        async with asyncio.timeout(app.drain_seconds + _STOP_MARGIN):
            await app.stop()
    except TimeoutError:
        say.warning("process.cut-short", under_way=app.workload.running)
