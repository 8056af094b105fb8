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


async def run_items(
    task: Task, items: Sequence[Item], context: TaskContext, concurrency: int, deadline: timedelta
) -> Entries:
    """Run every item of a request; never raises for what a handler does."""
    if not inspect.iscoroutinefunction(task.handler):
        outcomes = [await _run(task, item, context, deadline) for item in items]
    else:
        slots = asyncio.Semaphore(concurrency)

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


async def _run(task: Task, item: Item, context: TaskContext, deadline: timedelta) -> JsonValue | _Failed:
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


async def _call(task: Task, item: Item, context: TaskContext, deadline: timedelta) -> JsonValue:
    value = task.handler(item, context) if task.takes_context else task.handler(item)
    if not inspect.isawaitable(value):
        return value
    try:
        async with asyncio.timeout(deadline.total_seconds()) as scope:
            return await value
    except TimeoutError:
        if scope.expired():
            raise TaskError(f"no result within {deadline.total_seconds():g} s") from None
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
