"""Task types, found through the entry point group `callstream.tasks`."""

import inspect
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Any, Literal, cast, get_args, get_type_hints

import httpx
from pydantic import JsonValue

from callstream.contract.messages import Item, TaskBody, TaskRequest
from callstream.contract.raw_json import RawJson
from callstream.contract.topics import Topics
from callstream.tasks.budget import Share, unlimited
from callstream.tasks.turns import LoopTurns

ENTRY_POINTS = "callstream.tasks"

# Each with what stands below it.
RESERVED_PATHS = (
    "/asyncapi",
    "/asyncapi.json",
    "/asyncapi.yaml",
    "/docs",
    "/health",
    "/healthcheck",
    "/metrics",
    "/openapi.json",
    "/redoc",
    "/v1/tasks",
)
_PATH = re.compile(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)+")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")  # what a topic's name may hold, with room for the rest of it

# Where a `def` runs: in the event loop, in a thread, in a process of its own.
Place = Literal["inline", "thread", "process"]

# Takes an item, and a TaskContext if it asks for a second argument.
Handler = Callable[..., JsonValue | RawJson | Awaitable[JsonValue | RawJson]]
Tasks = Mapping[str, "Task"]


class TaskError(Exception):
    """An item cannot be done; the text is what the receiver reads under the item's name."""


class RegistryError(Exception):
    """The installed task types do not fit together."""


@dataclass(frozen=True)
class TaskContext:
    """What a handler may use beside its item.

    `fetch_limit` is the most bytes that it should read of an answer; of `answers` it takes the room for them. The
    item's time begins behind a block of `waiting`, for which the task's counts; given as a request's extension of
    this name, it spans what the request waits for a connection. Who computes for milliseconds in the event loop does so
    in one of `turns`. `task_id` is for that, and for a log.
    """

    http: httpx.AsyncClient
    fetch_limit: int
    answers: Share = field(default_factory=unlimited)
    waiting: Callable[[], AbstractContextManager[None]] = nullcontext
    turns: LoopTurns = field(default_factory=LoopTurns)
    task_id: str = ""


@dataclass(frozen=True)
class Task:
    """A task type: `request` is the model of its records, `body` of its REST body, `example` one such message.

    `fetches_from` returns the canonical host that an item's fetch is sent to, or nothing if it could be sent to none;
    it never raises.
    """

    name: str
    path: str
    item: type[Item]
    request: type[TaskRequest[Any]]
    body: type[TaskBody[Any]]
    handler: Handler
    runs: Literal["async"] | Place
    takes_context: bool
    summary: str
    example: tuple[Mapping[str, object], ...]
    fetches_from: Callable[[Any], str] | None = None


def task(
    name: str,
    *,
    path: str,
    runs: Place | None = None,
    example: Iterable[Mapping[str, object]] = (),
    fetches_from: Callable[[Any], str] | None = None,
) -> Callable[[Handler], Task]:
    """Make a task type of a handler for one item; the item's model is the type of the first argument.

    A `def` runs in a thread unless `runs` says otherwise, an `async def` in the event loop. Items that fail are logged
    with the host that `fetches_from` returns for them.

    Raises:
        RegistryError: the name, the path or the handler cannot be used.
    """
    _check_name(name)
    _check_path(name, path)

    def make(handler: Handler) -> Task:
        parameters = list(inspect.signature(handler).parameters)
        item = _hints(name, handler).get(parameters[0]) if parameters else None
        if not (inspect.isclass(item) and issubclass(item, Item)):
            raise RegistryError(f"task {name!r}: the handler's first argument must be annotated with an Item")
        request = cast("type[TaskRequest[Any]]", TaskRequest[item])  # type: ignore[valid-type]
        body = cast("type[TaskBody[Any]]", TaskBody[item])  # type: ignore[valid-type]
        summary = (inspect.getdoc(handler) or name).partition("\n")[0]
        takes_context = len(parameters) > 1
        where = _place(name, handler, runs, takes_context=takes_context)
        return Task(
            name, path, item, request, body, handler, where, takes_context, summary, tuple(example), fetches_from
        )

    return make


def _hints(name: str, handler: Handler) -> dict[str, Any]:
    try:
        return get_type_hints(handler)
    except (NameError, TypeError) as error:
        raise RegistryError(f"task {name!r}: the handler's annotations cannot be read: {error}") from error


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise RegistryError(
            f"task {name!r}: the name becomes part of a topic's: up to 100 letters, digits, '.', '_' and '-', "
            "a letter or digit first"
        )
    topics = Topics()
    if topics.is_retry(topics.requests(name)):
        raise RegistryError(f"task {name!r}: its topic would be taken for one in which callbacks wait")


def _check_path(name: str, path: str) -> None:
    if not _PATH.fullmatch(path):
        raise RegistryError(
            f"task {name!r}: the path {path!r} must begin with '/', and hold letters, digits, '.', '_', '~' and '-' "
            "between its slashes"
        )
    if any(f"{path}/".startswith(f"{reserved}/") for reserved in RESERVED_PATHS):
        raise RegistryError(f"task {name!r}: the path {path} is the gateway's own")


def _place(name: str, handler: Handler, runs: Place | None, *, takes_context: bool) -> Literal["async"] | Place:
    if inspect.iscoroutinefunction(handler):
        if runs is not None:
            raise RegistryError(f"task {name!r}: an async handler runs in the event loop: it cannot say runs={runs!r}")
        return "async"
    place = runs or "thread"
    if place not in get_args(Place):
        raise RegistryError(f"task {name!r}: runs={runs!r} is none of {', '.join(get_args(Place))}")
    if takes_context and place != "inline":
        raise RegistryError(f"task {name!r}: a TaskContext serves the event loop: only an async handler may take it")
    if place == "process" and not re.fullmatch(r"[\w.]+", getattr(handler, "__qualname__", "")):
        raise RegistryError(f"task {name!r}: a handler that runs in a process must be a function of a module")
    return place


def load_tasks() -> Tasks:
    """Return the installed task types by name.

    Raises:
        RegistryError: an entry point cannot be loaded or is no task, or two tasks share a name or a path.
    """
    found: dict[str, Task] = {}
    for entry in sorted(entry_points(group=ENTRY_POINTS)):
        loaded = _load(entry)
        for other in found.values():
            _check_apart(other, loaded, entry.value)
        found[loaded.name] = loaded
    return MappingProxyType(found)


def _load(entry: EntryPoint) -> Task:
    try:
        loaded = entry.load()
    except Exception as error:
        raise RegistryError(f"the entry point {entry.value!r} cannot be loaded: {error}") from error
    if not isinstance(loaded, Task):
        raise RegistryError(f"the entry point {entry.value!r} is not a task: decorate the handler with @task")
    return loaded


def _check_apart(one: Task, other: Task, entry: str) -> None:
    if one.name == other.name:
        raise RegistryError(f"two tasks are named {one.name!r}; the second is {entry!r}")
    if one.name.replace(".", "_") == other.name.replace(".", "_"):
        raise RegistryError(
            f"the tasks {one.name!r} and {other.name!r} differ in '.' and '_' alone, which Kafka refuses"
        )
    if one.path == other.path:
        raise RegistryError(f"the tasks {one.name!r} and {other.name!r} share the path {one.path}")
