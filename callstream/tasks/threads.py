"""Runs handlers in a bounded number of threads, and gets over those that do not end."""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any

import structlog

from callstream.contract.messages import Item
from callstream.tasks.outcome import json_outcome
from callstream.tasks.registry import Task

log = structlog.get_logger()


class Threads:
    """Runs at most `most` items at once.

    No thread can be killed. One that is still at work when nobody waits for it any more is left behind, and another
    takes its place. So it is for up to `most` of them; what is left behind beyond those holds its place, and once all
    places are held, items wait until one of the threads ends: it may be our own doing that nobody waits for them, as
    when a rebalance takes their partitions away, and no fault of the items that come next. What bounds their wait is
    the time that their task has, and what bounds their number is what may be under way.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._running = 0
        self._left: dict[_Thread, tuple[str, float]] = {}  # the oldest first: its task, and since when
        self._idle: list[_Thread] = []
        self._waiting: dict[asyncio.Future[None], None] = {}  # the oldest first

    async def run(self, task: Task, item: Item, begun: Callable[[], None]) -> Any:  # noqa: ANN401 - a handler's
        await self._admit()
        begun()
        loop = asyncio.get_running_loop()
        began = loop.time()
        thread = self._idle.pop() if self._idle else _Thread()
        done: asyncio.Future[Any] = loop.create_future()
        context = contextvars.copy_context()
        thread.do(partial(context.run, json_outcome, task.handler, item), partial(self._ended, thread, done), loop)
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

    async def _admit(self) -> None:
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[place] = None
        self._hand_out()
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._running -= 1
                self._hand_out()
            self._waiting.pop(place, None)
            raise

    def _hand_out(self) -> None:
        while self._waiting and self._room:
            place = next(iter(self._waiting))
            del self._waiting[place]
            if not place.done():  # or else it was cancelled
                self._running += 1
                place.set_result(None)

    @property
    def _room(self) -> bool:
        return self._running < self._most and self._running + len(self._left) < 2 * self._most

    def _leave(self, thread: "_Thread", name: str, began: float) -> None:
        self._running -= 1
        self._left[thread] = (name, began)
        oldest, since = next(iter(self._left.values()))
        age = round(asyncio.get_running_loop().time() - since, 1)
        say = log.error if len(self._left) >= 2 * self._most else log.warning
        say("thread.left-behind", task=name, left=len(self._left), oldest_task=oldest, oldest_seconds=age)
        self._hand_out()

    def _ended(self, thread: "_Thread", done: "asyncio.Future[Any]", value: object) -> None:
        thread.busy = False
        if self._left.pop(thread, None) is None:
            self._running -= 1
        else:
            log.info("thread.ended-late", left=len(self._left))
        self._idle.append(thread)
        if not done.done():
            done.set_result(value)
        self._hand_out()


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
