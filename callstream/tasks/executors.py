"""Where handlers run that may not run in the event loop."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
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
async def open_executors(threads: int, processes: int, tasks: Iterable[Task]) -> AsyncIterator[Executors]:
    """Give room for so many items of these types at once.

    Threads and processes begin when they are needed, and end here.
    """
    kinds = Counter(task.runs for task in tasks)
    thread_pool, process_pool = Threads(threads, kinds["thread"]), Processes(processes, kinds["process"])
    executors = Executors(thread_pool, process_pool)
    try:
        yield executors
    finally:
        thread_pool.close()
        await process_pool.close()
