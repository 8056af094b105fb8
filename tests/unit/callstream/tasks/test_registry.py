"""Which task types are found, and what is said of those that do not fit."""

import re
from collections.abc import Callable
from functools import partial
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from callstream.tasks import Item, RegistryError, TaskContext, load_tasks, registry, task
from callstream.tasks.calculation import CalculationItem
from callstream.tasks.data import DataItem


class Word(Item):
    text: str


def shout(item: Word) -> str:
    """Write a word large.

    What follows is not part of the summary.
    """
    return item.text.upper()


def shout_to(item: Word, _: TaskContext) -> str:
    return item.text.upper()


async def whisper(item: Word) -> str:
    return item.text.lower()


def unannotated(item) -> str:  # type: ignore[no-untyped-def]  # noqa: ANN001 - the point of a test
    return str(item)


def annotated_with_no_item(item: str) -> str:
    return item


def annotated_with_an_unknown_name(item: "Unknown") -> str:  # type: ignore[name-defined]  # noqa: F821 - likewise
    return str(item)


def without_arguments() -> str:
    return ""


# What the entry points of the tests name.
shouting = task("shout", path="/v1/shout")(shout)
shouting_elsewhere = task("shout", path="/v1/elsewhere")(shout)
whispering_at_the_same_path = task("whisper", path="/v1/shout")(shout)
dotted = task("a.b", path="/v1/dotted")(shout)
dashed = task("a_b", path="/v1/dashed")(shout)


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Stand for installed packages with these entry points, each an attribute of this module."""

    def installed(*attributes: str) -> None:
        entries = [EntryPoint(name, f"{__name__}:{name}", registry.ENTRY_POINTS) for name in attributes]
        monkeypatch.setattr(registry, "entry_points", lambda group: entries if group == registry.ENTRY_POINTS else [])

    return installed


@pytest.mark.parametrize(
    ("name", "path", "item"),
    [("calculation", "/v1/calculation/basic", CalculationItem), ("data", "/v1/data/from-api", DataItem)],
)
def test_the_built_in_tasks_are_installed_like_any_other(name: str, path: str, item: type[Item]) -> None:
    found = load_tasks()[name]
    assert (found.name, found.path) == (name, path)
    request = {"callback_url": "http://receiver.example/", "message": list(found.example)}
    assert all(type(read) is item for read in found.request.model_validate(request).message)


def test_an_installed_task_is_found_by_its_name(install: Callable[..., None]) -> None:
    install("shouting")
    assert load_tasks() == {"shout": shouting}
    assert shouting.summary == "Write a word large."


@pytest.mark.parametrize(
    ("attributes", "complaint"),
    [
        (["shouting", "shouting_elsewhere"], "two tasks are named 'shout'.*:shouting_elsewhere"),
        (["shouting", "whispering_at_the_same_path"], "'shout' and 'whisper' share the path /v1/shout"),
        (["shout"], ":shout' is not a task: decorate the handler with @task"),
        (["dotted", "dashed"], "'a_b' and 'a.b' differ in '.' and '_' alone"),
        (["missing"], ":missing' cannot be loaded: .*no attribute 'missing'"),
    ],
)
def test_task_types_that_do_not_fit_together_stop_the_start(
    install: Callable[..., None], attributes: list[str], complaint: str
) -> None:
    install(*attributes)
    with pytest.raises(RegistryError, match=complaint):
        load_tasks()


@pytest.mark.parametrize(
    ("handler", "complaint"),
    [
        (unannotated, "must be annotated with an Item"),
        (annotated_with_no_item, "must be annotated with an Item"),
        (without_arguments, "must be annotated with an Item"),
        (annotated_with_an_unknown_name, "annotations cannot be read: name 'Unknown'"),
    ],
)
def test_a_handler_must_say_which_item_it_takes(handler: registry.Handler, complaint: str) -> None:
    with pytest.raises(RegistryError, match=f"task 'word': .*{complaint}"):
        task("word", path="/v1/word")(handler)


@pytest.mark.parametrize(("handler", "takes_context"), [(shout, False), (shout_to, True)])
def test_a_second_argument_asks_for_the_context(handler: registry.Handler, takes_context: bool) -> None:  # noqa: FBT001 - drawn
    assert task("word", path="/v1/word", runs="inline")(handler).takes_context is takes_context


@pytest.mark.parametrize(("handler", "runs"), [(shout, "thread"), (whisper, "async")])
def test_a_def_runs_in_a_thread_unless_it_says_otherwise(handler: registry.Handler, runs: str) -> None:
    assert task("word", path="/v1/word")(handler).runs == runs


@pytest.mark.parametrize(
    ("handler", "runs", "complaint"),
    [
        (whisper, "thread", "an async handler runs in the event loop"),
        (shout, "threads", "is none of inline, thread, process"),
        (shout_to, "thread", "only an async handler may take it"),
        (shout_to, "process", "only an async handler may take it"),
        (partial(shout), "process", "must be a function of a module"),
    ],
)
def test_a_handler_runs_only_where_it_can(handler: registry.Handler, runs: Any, complaint: str) -> None:
    with pytest.raises(RegistryError, match=f"task 'word': .*{complaint}"):
        registry._place("word", handler, runs, takes_context=handler is shout_to)


@pytest.mark.parametrize(
    "name", ["", "a/b", "a b", "é", ".", "..", "-a", "a" * 101, "callback.retry.5s", "callback.retry.x"]
)
def test_a_name_that_no_topic_can_have_is_refused(name: str) -> None:
    with pytest.raises(RegistryError, match=f"task {re.escape(repr(name))}: "):
        task(name, path="/v1/word")


@pytest.mark.parametrize(
    "path",
    [
        "",
        "v1/word",
        "/",
        "/v1/",
        "/v1//word",
        "/v1/word?a",
        "/v1/{word}",
        "/v1/a b",
        "/v1/../docs",
        "/./a",
        "/é",
        "/a\n",
    ],
)
def test_a_path_that_no_client_would_send_as_it_is_is_refused(path: str) -> None:
    with pytest.raises(RegistryError, match=r"task 'word': the path .* must begin with '/'"):
        task("word", path=path)


@pytest.mark.parametrize("path", [*registry.RESERVED_PATHS, "/health/x", "/v1/tasks/word", "/docs/oauth2-redirect"])
def test_a_path_of_the_gateways_own_is_refused(path: str) -> None:
    with pytest.raises(RegistryError, match=f"task 'word': the path {path} is the gateway's own"):
        task("word", path=path)


@pytest.mark.parametrize("path", ["/v1/word", "/word", "/a.b/~c", "/v1/tasks-of-mine", "/healthy", "/.well-known/x"])
def test_any_other_path_may_be_a_tasks(path: str) -> None:
    assert task("word", path=path)(shout).path == path
