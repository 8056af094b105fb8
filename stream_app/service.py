"""Runs a Faust app in a process: wait for its topics, start, say so, drain when the process is to end."""

import asyncio
import gc
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from callstream.runtime.health import health_server
from callstream.runtime.kafka import await_topics, missing_topics
from callstream.runtime.logs import Logger, get_logger
from callstream.runtime.settings import Settings
from stream_app.ending import APP_MARGIN, Ending
from stream_app.kafka_app import KafkaApp
from stream_app.liveness import Liveness
from stream_app.workload import Workload


class StoppedByItselfError(Exception):
    """The app has stopped, and nobody had asked it to."""


@dataclass(frozen=True)
class Plan:
    """What a process needs: the `topics` that must be there, and how it reads, given all topics that are there.

    Of `sources` one is enough to begin with: the others are read when they come. A record takes it at most as long as
    `work`, and then the writing of what becomes of it. Its health is served on `health`, if at all.
    """

    name: str
    topics: list[str]
    read: Callable[[set[str]], None]
    work: timedelta
    health: socket.socket | None
    sources: frozenset[str] = frozenset()


async def serve(app: KafkaApp, workload: Workload, ending: Ending, settings: Settings, plan: Plan) -> None:
    """Run `app` until a signal or the first failure, which `ending` knows, and then stop it."""
    liveness = Liveness(app, workload, plan.work, settings.kafka.request_timeout)

    awaited = ""

    def tell(trouble: str) -> None:
        nonlocal awaited
        awaited = trouble

    async def unready() -> str | None:
        if not app.assigned.is_set():
            return awaited or "the consumer group has not given this process its place yet"
        return missing_topics(app.missing & set(plan.topics)) or None

    async with health_server(plan.health, live=liveness.trouble, ready=unready):
        topics = partial(await_topics, settings, plan.topics, plan.sources, tell)
        await _serve(app, workload, ending, plan, topics)


async def _serve(
    app: KafkaApp, workload: Workload, ending: Ending, plan: Plan, topics: Callable[[], Awaitable[set[str]]]
) -> None:
    say = get_logger().bind(process=plan.name)
    living = asyncio.create_task(_live(app, say, plan, topics))
    over = asyncio.create_task(ending.wait())
    down = asyncio.create_task(app.wait_until_stopped())  # also when it crashes before it is assigned anything
    try:
        await asyncio.wait({living, over, down}, return_when=asyncio.FIRST_COMPLETED)
        if (failure := _failure(app, ending, living)) is not None:
            ending.fail(failure)
            say.error("process.failed", error=repr(failure), exc_info=failure)
        say.info("process.stopping", under_way=workload.running, within=ending.seconds)
    except BaseException as error:
        ending.fail(error)
        raise
    finally:
        for task in (living, over, down):
            task.cancel()
        if app.started:
            await _stop(app, ending, say)


async def _live(app: KafkaApp, say: Logger, plan: Plan, topics: Callable[[], Awaitable[set[str]]]) -> None:
    plan.read(await topics())
    await app.start()
    await app.assigned.wait()
    # What is there now is there for good. To look through all of it for garbage stops the loop, again and again.
    gc.freeze()
    say.info("process.ready", partitions=len(app.consumer.assignment()))
    await app.wait_until_stopped()


def _failure(app: KafkaApp, ending: Ending, living: asyncio.Task[None]) -> BaseException | None:
    if ending.failure is not None:
        return ending.failure
    if app.crash_reason is not None:
        return app.crash_reason
    if living.done() and (error := _error(living)) is not None:
        return error
    return None if ending.asked else StoppedByItselfError("the app stopped by itself")


async def _stop(app: KafkaApp, ending: Ending, say: Logger) -> None:
    """Stop the app; it is given up after a time, and what it raises is a failure.

    In a task of its own: what is cancelled inside, as Faust's calls into a thread that has died are, is not us.
    """
    stopping = asyncio.ensure_future(app.stop())
    await asyncio.wait({stopping}, timeout=app.drain_seconds + APP_MARGIN)
    if not stopping.done():
        say.warning("process.cut-short", under_way=app.workload.running)
    elif (error := _error(stopping)) is not None:
        ending.fail(error)
        say.error("process.failed", error=repr(error), exc_info=error)


def _error(task: "asyncio.Future[None]") -> BaseException | None:
    """Return what a task ended with; being cancelled is an error too."""
    return asyncio.CancelledError("it was cancelled") if task.cancelled() else task.exception()
