"""Task types: a name, a path, an item model and a handler for one item.

    class CalculationItem(Item): ...

    @task("calculation", path="/v1/calculation/basic", runs="inline")
    def calculate(item: CalculationItem) -> float: ...

What makes them known is an entry point in the group `callstream.tasks` that names the decorated handler.
"""

from callstream.contract.messages import Item
from callstream.tasks.registry import RegistryError, Task, TaskContext, TaskError, Tasks, load_tasks, task

__all__ = ["Item", "RegistryError", "Task", "TaskContext", "TaskError", "Tasks", "load_tasks", "task"]
