"""Runs a task's items: in order, bounded in number and time; whatever goes wrong is an entry in `errors`."""

import asyncio
import inspect
from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

from pydantic import JsonValue

from callstream.contract.messages import Entry, Item
from callstream.tasks.registry import Task, TaskContext, TaskError


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
        value = task.handler(item, context) if task.takes_context else task.handler(item)
        if inspect.isawaitable(value):
            async with asyncio.timeout(deadline.total_seconds()):
                value = await value
    except TaskError as error:
        return _Failed(str(error))
    except TimeoutError:
        return _Failed(f"no result within {deadline.total_seconds():g} s")
    except Exception as error:  # noqa: BLE001 - a handler's bug is the receiver's to know and not the partition's to feel
        return _Failed(f"{type(error).__name__}: {error}")
    return value
