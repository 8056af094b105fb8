"""Runs a task's items: in order, bounded in number and time; whatever goes wrong is an entry in `errors`."""

import asyncio
import inspect
import traceback
from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

from pydantic import JsonValue, TypeAdapter, ValidationError

from callstream.contract.messages import Entry, Item, Json
from callstream.tasks.registry import Task, TaskContext, TaskError

_json: TypeAdapter[JsonValue] = TypeAdapter(Json)


class Entries(NamedTuple):
    """What became of the items, both lists in the order of the request."""

    results: list[Entry]
    errors: list[Entry]


class _Failed(NamedTuple):
    text: str


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
        return self.end, f"the task was not finished within {self.whole:g} s"


async def run_items(task: Task, items: Sequence[Item], context: TaskContext, limits: Limits) -> Entries:
    """Run every item of a request; never raises for what a handler does."""
    whole = limits.deadline.total_seconds()
    end = asyncio.get_running_loop().time() + whole
    deadline = _Deadline(limits.item_deadline.total_seconds(), whole, end)
    if not inspect.iscoroutinefunction(task.handler):
        outcomes = [await _run(task, item, context, deadline) for item in items]
    else:
        slots = asyncio.Semaphore(limits.concurrency)

        async def bounded(item: Item) -> JsonValue | _Failed:
            async with slots:
                return await _run(task, item, context, deadline)

        outcomes = await asyncio.gather(*(bounded(item) for item in items))
    entries = Entries([], [])
    for item, outcome in zip(items, outcomes, strict=True):
        if isinstance(outcome, _Failed):
            entries.errors.append({item.name: outcome.text})
        else:
            entries.results.append({item.name: outcome})
    return entries


async def _run(task: Task, item: Item, context: TaskContext, deadline: _Deadline) -> JsonValue | _Failed:
    try:
        value = await _call(task, item, context, deadline)
    except TaskError as error:
        text = str(error)
    except Exception as error:  # noqa: BLE001 - a handler's bug is the receiver's to know and not the partition's to feel
        text = traceback.format_exception_only(error)[-1].strip()
    except asyncio.CancelledError:
        if (current := asyncio.current_task()) and current.cancelling():
            raise  # we are cancelled, and not something that the handler awaited
        text = "the work was cancelled"
    else:
        return _checked(value)
    return _failed(text)


async def _call(task: Task, item: Item, context: TaskContext, deadline: _Deadline) -> JsonValue:
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


def _checked(value: JsonValue) -> JsonValue | _Failed:
    try:
        return _json.validate_python(value)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False, include_input=False)[0]["msg"]
        return _failed(f"the result is not JSON: {problem}")


def _failed(text: str) -> _Failed:
    # A text may hold lone surrogates, as the name of a file may; JSON does not.
    return _Failed(text.encode("utf-8", "backslashreplace").decode())
