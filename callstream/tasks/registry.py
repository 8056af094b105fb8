"""Task types, found through the entry point group `callstream.tasks`."""

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any, cast, get_type_hints

import httpx
from pydantic import JsonValue

from callstream.contract.messages import Item, TaskRequest

ENTRY_POINTS = "callstream.tasks"

# Takes an item, and a TaskContext if it asks for a second argument.
Handler = Callable[..., JsonValue | Awaitable[JsonValue]]
Tasks = Mapping[str, "Task"]


class TaskError(Exception):
    """An item cannot be done; the text is what the receiver reads under the item's name."""


class RegistryError(Exception):
    """The installed task types do not fit together."""


@dataclass(frozen=True)
class TaskContext:
    """What a handler may use beside its item; `fetch_limit` is the most bytes that it should read of an answer."""

    http: httpx.AsyncClient
    fetch_limit: int


@dataclass(frozen=True)
class Task:
    """A task type: `request` is the model of its REST body and of its records, `example` one such body's message."""

    name: str
    path: str
    request: type[TaskRequest[Any]]
    handler: Handler
    takes_context: bool
    summary: str
    example: tuple[Mapping[str, object], ...]


def task(name: str, *, path: str, example: Iterable[Mapping[str, object]] = ()) -> Callable[[Handler], Task]:
    """Make a task type of a handler for one item; the item's model is the type of the first argument."""

    def make(handler: Handler) -> Task:
        parameters = list(inspect.signature(handler).parameters)
        item = _hints(name, handler).get(parameters[0]) if parameters else None
        if not (inspect.isclass(item) and issubclass(item, Item)):
            raise RegistryError(f"task {name!r}: the handler's first argument must be annotated with an Item")
        request = cast("type[TaskRequest[Any]]", TaskRequest[item])  # type: ignore[valid-type]
        summary = (inspect.getdoc(handler) or name).partition("\n")[0]
        return Task(name, path, request, handler, len(parameters) > 1, summary, tuple(example))

    return make


def _hints(name: str, handler: Handler) -> dict[str, Any]:
    try:
        return get_type_hints(handler)
    except (NameError, TypeError) as error:
        raise RegistryError(f"task {name!r}: the handler's annotations cannot be read: {error}") from error


def load_tasks() -> Tasks:
    """Return the installed task types by name.

    Raises:
        RegistryError: an entry point cannot be loaded or is no task, or two tasks share a name or a path.
    """
    found: dict[str, Task] = {}
    paths: dict[str, str] = {}
    for entry in sorted(entry_points(group=ENTRY_POINTS)):
        try:
            loaded = entry.load()
        except (ImportError, AttributeError) as error:
            raise RegistryError(f"the entry point {entry.value!r} cannot be loaded: {error}") from error
        if not isinstance(loaded, Task):
            raise RegistryError(f"the entry point {entry.value!r} is not a task: decorate the handler with @task")
        if loaded.name in found:
            raise RegistryError(f"two tasks are named {loaded.name!r}; the second is {entry.value!r}")
        if loaded.path in paths:
            raise RegistryError(f"the tasks {paths[loaded.path]!r} and {loaded.name!r} share the path {loaded.path}")
        found[loaded.name] = loaded
        paths[loaded.path] = loaded.name
    return MappingProxyType(found)
