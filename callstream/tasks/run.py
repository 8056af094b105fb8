"""Runs a task's items: in order, bounded in number and time; whatever goes wrong is an entry in `errors`."""

import asyncio
import inspect
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any, NamedTuple

import pydantic_core

from callstream.contract.messages import Item
from callstream.contract.raw_json import RawJson
from callstream.tasks.budget import Share
from callstream.tasks.executors import Executors
from callstream.tasks.failures import Failures
from callstream.tasks.outcome import Failed, as_json, failure
from callstream.tasks.registry import Task, TaskContext, TaskError

_TURN = 0.001  # seconds of work at a time, after which others have theirs
_OBJECT = 64  # bytes of memory that an entry takes beside its name and its value


class Entries(NamedTuple):
    """What became of the items, `{name: value}` or `{name: text}` in JSON, both lists in the order of the request.

    Both are empty where they were `too_large`.
    """

    results: list[bytes]
    errors: list[bytes]
    too_large: bool = False


class Limits(NamedTuple):
    """How many items run at once, how long each of them and all together may take, and the most bytes of entries."""

    concurrency: int
    item_deadline: timedelta
    deadline: timedelta
    size: int = sys.maxsize


class _Deadline(NamedTuple):
    item: float  # seconds
    whole: float  # seconds
    end: float  # of the whole, in the loop's time

    def of_next_item(self, now: float) -> tuple[float, str]:
        """Return when an item that begins `now` must have ended, and what to say if it has not."""
        if now + self.item < self.end:
            return now + self.item, f"no result within {self.item:g} s"
        return self.end, self.of_whole

    @property
    def of_whole(self) -> str:
        return f"the task was not finished within {self.whole:g} s"


class _Clock:
    """The time of one item in the event loop: `scope` ends with it, and `text` says what was too long."""

    def __init__(self, deadline: _Deadline) -> None:
        self._deadline = deadline
        end, self.text = deadline.of_next_item(asyncio.get_running_loop().time())
        self.scope = asyncio.timeout_at(end)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Leave the block as much time as the task has; the item's own begins behind it."""
        self._set(self._deadline.end, self._deadline.of_whole)
        yield
        self._set(*self._deadline.of_next_item(asyncio.get_running_loop().time()))

    def _set(self, end: float, text: str) -> None:
        self.scope.reschedule(end)
        self.text = text


async def run_items(
    task: Task, items: Sequence[Item], context: TaskContext, limits: Limits, executors: Executors
) -> Entries:
    """Run every item of a request; never raises for what a handler does.

    What the items come to takes its room from `context.answers`, and keeps it for who reads the entries.
    """
    whole = limits.deadline.total_seconds()
    loop = asyncio.get_running_loop()
    end = loop.time() + whole
    deadline = _Deadline(limits.item_deadline.total_seconds(), whole, end)
    kept = _Kept(items, context.answers, limits.size)
    failures = Failures(task, context.task_id)
    numbers = iter(range(len(items)))

    async def work() -> None:
        began = time.perf_counter()
        for number in numbers:  # which the workers share
            if kept.too_large:
                return  # nobody will read what the others come to
            # Behind the end nothing is tried, and nothing has to wait for a turn of its own.
            if (task.runs != "inline" and loop.time() < end) or time.perf_counter() - began > _TURN:
                await context.turns.begin(context.task_id)
                began = time.perf_counter()
            item = items[number]
            started = loop.time()
            late = started >= end
            outcome = Failed(deadline.of_whole) if late else await _run(task, item, context, deadline, executors)
            if isinstance(outcome, Failed):
                if not late:
                    failures.tell(item, outcome, loop.time() - started)
                await _take_at_last(context.answers, _size(item, outcome), deadline)
            kept.add(number, item, outcome)

    if task.runs == "inline":
        await work()
    else:
        async with asyncio.TaskGroup() as workers:
            for _ in range(min(limits.concurrency, len(items))):
                workers.create_task(work())
    return kept.entries()


class _Kept:
    """What the items have come to, as far as it can be written: entries, so that no item has to be kept for its name.

    Who adds an outcome has taken the room that `_size` says.
    """

    def __init__(self, items: Sequence[Item], share: Share, limit: int) -> None:
        self._items = items
        self._share = share
        self._left = limit
        self._held = 0  # bytes of the share
        self._entries: list[bytes | None] = [None] * len(items)
        self._failed = bytearray(len(items))

    @property
    def too_large(self) -> bool:
        return self._left < 0

    def add(self, number: int, item: Item, outcome: RawJson | Failed) -> None:
        """Keep an outcome; when all of them have become too large to be written, none is kept any more."""
        size = _size(item, outcome)
        if self.too_large:
            self._share.give(size)
            return
        self._entries[number] = entry = _entry(item, outcome)
        self._failed[number] = isinstance(outcome, Failed)
        self._held += size
        self._left -= len(entry)
        if self.too_large:
            self._share.give(self._held)
            self._entries.clear()

    def entries(self) -> Entries:
        if self.too_large:
            return Entries([], [], too_large=True)
        entries = Entries([], [])
        for number, (entry, failed) in enumerate(zip(self._entries, self._failed, strict=True)):
            if entry is None:  # the handler itself cancelled its work
                entries.errors.append(_entry(self._items[number], Failed("the work was cancelled")))
            else:
                (entries.errors if failed else entries.results).append(entry)
        return entries


def _entry(item: Item, outcome: RawJson | Failed) -> bytes:
    data = outcome.data if isinstance(outcome, RawJson) else pydantic_core.to_json(outcome.text)
    return b"{%b:%b}" % (pydantic_core.to_json(item.name), data)


def _size(item: Item, outcome: RawJson | Failed) -> int:
    """Return about how many bytes of memory an entry takes."""
    return len(outcome.data if isinstance(outcome, RawJson) else outcome.text) + len(item.name) + _OBJECT


async def _run(
    task: Task, item: Item, context: TaskContext, deadline: _Deadline, executors: Executors
) -> RawJson | Failed:
    try:
        if task.runs in {"async", "inline"}:
            value = await _call(task, item, context, deadline)
        else:
            value = await _hand_over(task, item, deadline, executors)
        outcome = as_json(value)
        if isinstance(outcome, RawJson):
            size = _size(item, outcome)
            taken = len(outcome.data) if outcome is value and task.runs == "async" else 0  # by who read it somewhere
            try:
                await _take(context.answers, size - taken, deadline)
            except BaseException:
                context.answers.give(taken)
                raise
    except BaseException as error:
        # A handler's bug, SystemExit included, is the receiver's to know and not the partition's to feel.
        if isinstance(error, asyncio.CancelledError) and (current := asyncio.current_task()) and current.cancelling():
            raise  # we are cancelled, and not something that the handler awaited
        return failure(error)
    return outcome


async def _take(share: Share, size: int, deadline: _Deadline) -> None:
    """Wait for room as long as the task has time."""
    if share.grab(size):
        return
    try:
        async with asyncio.timeout_at(deadline.end):
            await share.take(size)
    except TimeoutError:
        raise TaskError(deadline.of_whole) from None


async def _take_at_last(share: Share, size: int, deadline: _Deadline) -> None:
    """Wait likewise; the text of an error is kept even where there was no room for it in all that time."""
    try:
        await _take(share, size, deadline)
    except TaskError:
        share.force(size)


async def _call(task: Task, item: Item, context: TaskContext, deadline: _Deadline) -> Any:  # noqa: ANN401 - a handler's
    clock = _Clock(deadline)
    more = (replace(context, waiting=clock.stopped),) if task.takes_context else ()
    value = task.handler(item, *more)
    if not inspect.isawaitable(value):
        return value
    try:
        async with clock.scope:
            return await value
    except TimeoutError:
        if clock.scope.expired():
            raise TaskError(clock.text) from None
        raise


async def _hand_over(task: Task, item: Item, deadline: _Deadline, executors: Executors) -> Any:  # noqa: ANN401 - likewise
    """Let an executor run the handler; the item's own time begins when there is room for it."""
    text = deadline.of_whole

    def begun() -> None:
        nonlocal text
        end, text = deadline.of_next_item(asyncio.get_running_loop().time())
        scope.reschedule(end)

    executor = executors.thread if task.runs == "thread" else executors.process
    try:
        async with asyncio.timeout_at(deadline.end) as scope:
            value = await executor.run(task, item, begun)
            return await value if inspect.isawaitable(value) else value
    except TimeoutError:
        if scope.expired():
            raise TaskError(text) from None
        raise
