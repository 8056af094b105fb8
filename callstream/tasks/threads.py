"""Runs handlers in a bounded number of threads, and gets over those that do not end."""

import asyncio
import contextvars
import threading
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any

import structlog

from callstream.contract.messages import Item
from callstream.sharing.lanes import Places
from callstream.tasks.outcome import json_outcome
from callstream.tasks.registry import Task

log = structlog.get_logger()


class Threads:
    """Runs at most `most` items of so many task types at once.

    No thread can be killed. One that is still at work when nobody waits for it any more is left behind, and another
    takes its place. So it is for as many of each type as `most` gives each; what a type leaves behind beyond those
    holds its place, and once all are held that it may have, its items wait until one of the threads ends: it may be our
    own doing that nobody waits for them, as when a rebalance takes their partitions away, and no fault of the items
    that come next. What bounds their wait is the time that their task has, and what bounds their number is what may be
    under way.
    """

    def __init__(self, most: int, types: int) -> None:
        self._places = Places(most, types)
        self._spared = max(most // max(types, 1), 1)  # how many of a type may be left behind without their places
        self._left: defaultdict[str, dict[_Thread, float]] = defaultdict(dict)  # by type, the oldest first: since when
        self._idle: list[_Thread] = []

    async def run(self, task: Task, item: Item, begun: Callable[[], None]) -> Any:  # noqa: ANN401 - a handler's
        await self._places.take(task.name)
        begun()
        loop = asyncio.get_running_loop()
        began = loop.time()
        thread = self._idle.pop() if self._idle else _Thread()
        done: asyncio.Future[Any] = loop.create_future()
        context = contextvars.copy_context()
        thread.do(
            partial(context.run, json_outcome, task.handler, item), partial(self._ended, thread, task.name, done), loop
        )
        try:
            return await done
        except asyncio.CancelledError:
            if thread.busy:
                self._leave(thread, task.name, began)
            raise

    def close(self) -> None:
        """End the idle threads; the others end with their work, or with the process."""
        for thread in self._idle:
            thread.end()
        self._idle.clear()

    def _leave(self, thread: "_Thread", name: str, began: float) -> None:
        left = self._left[name]
        left[thread] = began
        age = round(asyncio.get_running_loop().time() - next(iter(left.values())), 1)
        spared = len(left) <= self._spared
        say = log.warning if spared else log.error
        say("thread.left-behind", task=name, left=len(left), oldest_seconds=age)
        if spared:
            self._places.give_back(name)

    def _ended(self, thread: "_Thread", name: str, done: "asyncio.Future[Any]", value: object) -> None:
        thread.busy = False
        left = self._left[name]
        was_left = left.pop(thread, None) is not None
        if was_left:
            log.info("thread.ended-late", task=name, left=len(left))
        self._idle.append(thread)
        if not done.done():
            done.set_result(value)
        if not was_left or len(left) >= self._spared:  # it had a place
            self._places.give_back(name)


class _Thread:
    """A thread that does one thing after the other; `busy` as the loop sees it."""

    def __init__(self) -> None:
        self.busy = False
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        # Nobody waits for a daemon when the process ends.
        threading.Thread(target=self._live, name="callstream-item", daemon=True).start()

    def do(self, call: Callable[[], Any], then: Callable[[Any], None], loop: asyncio.AbstractEventLoop) -> None:
        """Call `call` in the thread, and `then` with what it returned in `loop`."""
        self.busy = True

        def work() -> None:
            value = call()
            with suppress(RuntimeError):  # the loop is closed, the process ends
                loop.call_soon_threadsafe(then, value)

        self._work.put(work)

    def end(self) -> None:
        self._work.put(None)

    def _live(self) -> None:
        while (work := self._work.get()) is not None:
            work()
