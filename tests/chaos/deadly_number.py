"""`callstream` with a calculation that kills its process when it meets one number."""

import os
import signal
from dataclasses import replace

from callstream.tasks import Item, Tasks, load_tasks
from callstream.tasks.calculation import CalculationItem, calculate
from cli.main import main
from stream_app import tasks_main

DEADLY = 666.0


def calculate_or_die(item: Item) -> float:
    assert isinstance(item, CalculationItem)
    if item.num_1 == DEADLY:
        os.kill(os.getpid(), signal.SIGKILL)
    return float(calculate.handler(item))  # type: ignore[arg-type]


def load_deadly_tasks() -> Tasks:
    return {**load_tasks(), calculate.name: replace(calculate, handler=calculate_or_die)}


if __name__ == "__main__":
    setattr(tasks_main, "load_tasks", load_deadly_tasks)  # noqa: B010 - mypy rightly refuses the assignment
    main()
