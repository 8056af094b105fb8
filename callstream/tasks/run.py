"""Runs a task's items: in order, bounded in number and time; whatever goes wrong is an entry in `errors`."""

import asyncio
import inspect
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from pydantic import JsonValue

from callstream.contract.messages import Entry, Item
from callstream.tasks.executors import Executors
from callstream.tasks.outcome import Failed, checked, failure
from callstream.tasks.registry import Task, TaskContext, TaskError


class Entries(NamedTuple):
    """What became of the items, both lists in the order of the request."""

    results: list[Entry]
    errors: list[Entry]


class Limits(NamedTuple):
    """How many items run at once, and how long each of them and all together may take."""

    concurrency: int
    item_deadline: timedelta
    deadline: timedelta


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


async def run_items(
    task: Task, items: Sequence[Item], context: TaskContext, limits: Limits, executors: Executors
) -> Entries:
    """Run every item of a request; never raises for what a handler does."""
    whole = limits.deadline.total_seconds()
    end = asyncio.get_running_loop().time() + whole
    deadline = _Deadline(limits.item_deadline.total_seconds(), whole, end)

    async def run(item: Item) -> JsonValue | Failed:
        return await _run(task, item, context, deadline, executors)

    if task.runs == "inline":
        outcomes = [await run(item) for item in items]
    else:
        slots = asyncio.Semaphore(limits.concurrency)

        async def bounded(item: Item) -> JsonValue | Failed:
            async with slots:
                return await run(item)

        outcomes = await asyncio.gather(*(bounded(item) for item in items))
    entries = Entries([], [])
    for item, outcome in zip(items, outcomes, strict=True):
        if isinstance(outcome, Failed):
            entries.errors.append({item.name: outcome.text})
        else:
            entries.results.append({item.name: outcome})
    return entries


async def _run(
    task: Task, item: Item, context: TaskContext, deadline: _Deadline, executors: Executors
) -> JsonValue | Failed:
    try:
        if task.runs in {"async", "inline"}:
            value = await _call(task, item, context, deadline)
        else:
            value = await _hand_over(task, item, deadline, executors)
    except Exception as error:  # noqa: BLE001 - a handler's bug is the receiver's to know and not the partition's to feel
        return failure(error)
    except asyncio.CancelledError as error:
        if (current := asyncio.current_task()) and current.cancelling():
            raise  # we are cancelled, and not something that the handler awaited
        return failure(error)
    return checked(value)


async def _call(task: Task, item: Item, context: TaskContext, deadline: _Deadline) -> Any:  # noqa: ANN401 - a handler's
    value = task.handler(item, context) if task.takes_context else task.handler(item)
    if not inspect.isawaitable(value):
        return value
    end, text = deadline.of_next_item(asyncio.get_running_loop().time())
    try:
        async with asyncio.timeout_at(end) as scope:
            return await value
    except TimeoutError:
        if scope.expired():
            raise TaskError(text) from None
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
