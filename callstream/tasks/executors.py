"""Where handlers run that may not run in the event loop."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Protocol

from callstream.contract.messages import Item
from callstream.tasks.processes import Processes
from callstream.tasks.registry import Task
from callstream.tasks.threads import Threads


class Executor(Protocol):
    async def run(self, task: Task, item: Item, begun: Callable[[], None]) -> Any:  # noqa: ANN401 - a handler's
        """Return what the handler comes to, as RawJson or Failed, or what is still to be awaited of it.

        It waits for room first, and calls `begun` when there is.

        A cancellation ends the wait, and the work as far as it can be ended.

        Raises:
            TaskError: its process cannot begin, or has died.
        """


class Executors(NamedTuple):
    thread: Executor
    process: Executor


@asynccontextmanager
async def open_executors(threads: int, processes: int) -> AsyncIterator[Executors]:
    """Give room for so many items at once; threads and processes begin when they are needed, and end here."""
    executors = Executors(thread_pool := Threads(threads), process_pool := Processes(processes))
    try:
        yield executors
    finally:
        thread_pool.close()
        await process_pool.close()
