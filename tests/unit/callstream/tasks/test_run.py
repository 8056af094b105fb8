"""Whatever a handler does, every item has its entry, in the order of the request."""

import asyncio
import sys
from collections.abc import Awaitable
from dataclasses import replace
from datetime import timedelta
from typing import Any, NoReturn

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callstream.contract.messages import CallbackBody, Item
from callstream.tasks import Task, TaskContext, TaskError, task
from callstream.tasks.budget import Budget
from callstream.tasks.registry import Place
from callstream.tasks.run import Limits, run_items
from callstream.tasks.turns import LoopTurns
from tests.support.waiting import eventually
from tests.unit.entries import Entries, read_again
from tests.unit.executors import EXECUTORS

PATIENT = timedelta(seconds=60)
CONTEXT = TaskContext(httpx.AsyncClient(), 1_000)


class Work(Item):
    outcome: Any = None


def items(*outcomes: Any) -> list[Work]:
    return [Work(name=f"item_{number}", outcome=outcome) for number, outcome in enumerate(outcomes)]


async def act(item: Work) -> Any:
    """Do what the item says: call it, raise it, or return it."""
    if isinstance(item.outcome, BaseException):
        raise item.outcome
    return await item.outcome() if callable(item.outcome) else item.outcome


def act_at_once(item: Work) -> Any:
    if isinstance(item.outcome, BaseException):
        raise item.outcome
    return item.outcome


ACT = task("work", path="/v1/work")(act)
TASKS = [
    pytest.param(ACT, id="async"),
    pytest.param(task("work", path="/v1/work", runs="inline")(act_at_once), id="inline"),
    pytest.param(task("work", path="/v1/work")(act_at_once), id="thread"),
]


async def run(
    work: list[Work],
    kind: Task = ACT,
    concurrency: int = 10,
    deadline: timedelta = PATIENT,
    whole: timedelta = PATIENT,
) -> Entries:
    return read_again(await run_items(kind, work, CONTEXT, Limits(concurrency, deadline, whole), EXECUTORS))


@pytest.mark.parametrize("kind", TASKS)
@given(outcomes=st.lists(st.integers() | st.builds(TaskError, st.text())), concurrency=st.integers(1, 4))
def test_entries_stand_in_the_order_of_the_items(kind: Task, outcomes: list[Any], concurrency: int) -> None:
    work = items(*outcomes)
    entries = asyncio.run(run(work, kind, concurrency))
    failed = [isinstance(outcome, TaskError) for outcome in outcomes]
    assert entries.results == [{item.name: item.outcome} for item, bad in zip(work, failed, strict=True) if not bad]
    assert [list(entry) for entry in entries.errors] == [
        [item.name] for item, bad in zip(work, failed, strict=True) if bad
    ]


async def test_order_is_that_of_the_items_also_when_they_end_in_another() -> None:
    first_may_end = asyncio.Event()

    async def first() -> str:
        await first_may_end.wait()
        return "first"

    async def second() -> str:
        first_may_end.set()
        return "second"

    assert (await run(items(first, second))).results == [{"item_0": "first"}, {"item_1": "second"}]


@pytest.mark.parametrize("kind", TASKS)
async def test_items_of_one_name_keep_an_entry_each(kind: Task) -> None:
    outcomes = [1, 2, TaskError("a"), TaskError("b")]
    entries = await run([Work(name="same", outcome=outcome) for outcome in outcomes], kind)
    assert entries == Entries([{"same": 1}, {"same": 2}], [{"same": "a"}, {"same": "b"}])


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_no_more_items_are_under_way_than_allowed_and_no_fewer(concurrency: int) -> None:
    under_way = most = 0
    go_on = asyncio.Event()

    async def wait() -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await go_on.wait()
        under_way -= 1

    running = asyncio.create_task(run(items(*[wait] * 7), concurrency=concurrency))
    await eventually(lambda: under_way == concurrency)
    go_on.set()
    assert len((await running).results) == 7
    assert most == concurrency


async def test_in_each_turn_of_the_loop_one_item_begins_and_each_task_has_its_turn() -> None:
    turn, begun = 0, list[tuple[int, str]]()
    context = replace(CONTEXT, turns=LoopTurns())

    async def task_of(name: str, count: int) -> None:
        async def begin() -> None:
            begun.append((turn, name))
            await asyncio.sleep(0)

        own = replace(context, task_id=name)
        await run_items(ACT, items(*[begin] * count), own, Limits(10, PATIENT, PATIENT), EXECUTORS)

    running = asyncio.gather(task_of("a", 50), task_of("b", 50), task_of("c", 2))
    while not running.done():
        turn += 1
        await asyncio.sleep(0)
    await running
    assert len({turn for turn, _ in begun}) == len(begun) == 102
    assert [name for _, name in begun].index("c") < 5, "it does not wait for all that others have"


async def test_behind_the_end_of_its_task_no_item_is_tried() -> None:
    tried: list[str] = []

    async def hang() -> None:
        tried.append("hang")
        await asyncio.Event().wait()

    entries = await run(items(*[hang] * 20), concurrency=2, whole=timedelta(milliseconds=20))
    assert tried == ["hang"] * 2
    assert [list(entry.values()) for entry in entries.errors] == [["the task was not finished within 0.02 s"]] * 20


async def test_an_item_that_never_ends_is_an_entry_at_its_deadline_and_holds_up_no_other() -> None:
    entries = await run(items(asyncio.Event().wait, 1), deadline=timedelta(milliseconds=5))
    assert entries == Entries([{"item_1": 1}], [{"item_0": "no result within 0.005 s"}])


class UnprintableError(Exception):
    def __str__(self) -> NoReturn:
        raise ValueError


class UnprintableTaskError(TaskError):
    def __str__(self) -> NoReturn:
        raise SystemExit


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (TaskError("the API answered 500"), "the API answered 500"),
        (KeyError("num_3"), "KeyError: 'num_3'"),
        (TimeoutError("of its own"), "TimeoutError: of its own"),
        (RecursionError(), "RecursionError"),
        (UnprintableError(), "UnprintableError"),
        (FileNotFoundError("name\udcff"), "name\\udcff"),
        (TaskError("half a pair: \ud83d"), "half a pair: \\ud83d"),
        (asyncio.CancelledError(), "cancelled"),
        (SystemExit(3), "SystemExit: 3"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (GeneratorExit(), "GeneratorExit"),
        (UnprintableTaskError(), "cannot be read"),
    ],
)
@pytest.mark.parametrize("kind", TASKS)
async def test_whatever_a_handler_raises_is_its_items_entry_alone(kind: Task, error: BaseException, text: str) -> None:
    entries = await run(items(1, error, 2), kind)
    assert entries.results == [{"item_0": 1}, {"item_2": 2}]
    ((name, said),) = entries.errors[0].items()
    assert name == "item_1"
    assert text in str(said)
    CallbackBody(results=[], errors=entries.errors, task_id="t").model_dump_json().encode()


def cycle() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [{1}, (1, 2), {1: "a"}, b"bytes", object(), float("nan"), [float("inf")], "\ud800", 10**5_000, cycle(), deep()],
    ids=["set", "tuple", "integer key", "bytes", "object", "nan", "inf", "surrogate", "huge", "cycle", "deep"],
)
@pytest.mark.parametrize("kind", TASKS)
async def test_a_result_that_json_does_not_have_is_an_entry(kind: Task, value: Any) -> None:
    entries = await run(items(value, 1), kind)
    assert entries.results == [{"item_1": 1}]
    ((name, said),) = entries.errors[0].items()
    assert name == "item_0"
    assert str(said).startswith("the result is not JSON: ")


async def test_when_the_task_is_cancelled_its_items_are_and_nothing_is_returned() -> None:
    begun = asyncio.Event()

    async def wait() -> None:
        begun.set()
        await asyncio.Event().wait()

    running = asyncio.create_task(run(items(wait)))
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_handler_that_cancels_its_task_has_cancelled_its_item_alone() -> None:
    async def cancel() -> None:
        current = asyncio.current_task()
        assert current is not None
        current.cancel()
        await asyncio.sleep(0)

    assert (await run(items(cancel))).errors == [{"item_0": "the work was cancelled"}]


async def test_a_handler_that_asks_for_the_context_gets_it() -> None:
    async def limit(_: Work, context: TaskContext) -> int:
        return context.fetch_limit

    entries = await run(items(None), task("work", path="/v1/work")(limit))
    assert entries.results == [{"item_0": 1_000}]


@pytest.mark.parametrize("runs", ["inline", "thread"])
async def test_an_ordinary_function_that_returns_an_awaitable_is_awaited(runs: Place) -> None:
    def begin(item: Work) -> Awaitable[Any]:
        return act(item)

    entries = await run(items(5, TimeoutError("of its own")), task("work", path="/v1/work", runs=runs)(begin))
    assert entries == Entries([{"item_0": 5}], [{"item_1": "TimeoutError: of its own"}])


@task("waiting", path="/v1/waiting")
async def wait_first(item: Work, context: TaskContext) -> str:
    """Wait longer than an item may take for something that is not its own fault, and then for what the item says."""
    with context.waiting():
        await asyncio.sleep(0.05)
    await item.outcome()
    return "done"


async def test_the_time_of_an_item_begins_when_what_it_waits_for_is_there() -> None:
    work = items(lambda: asyncio.sleep(0), asyncio.Event().wait)
    entries = await run(work, wait_first, deadline=timedelta(milliseconds=40))
    assert entries.results == [{"item_0": "done"}]
    assert entries.errors == [{"item_1": "no result within 0.04 s"}]


async def test_an_item_that_waits_until_the_tasks_time_is_over_says_so() -> None:
    (entry,) = (await run(items(1), wait_first, whole=timedelta(milliseconds=5))).errors
    assert entry == {"item_0": "the task was not finished within 0.005 s"}


async def test_all_items_together_have_a_deadline_too_and_those_that_never_began_say_so() -> None:
    never = asyncio.Event()
    entries = await run(items(never.wait, never.wait, never.wait), concurrency=1, whole=timedelta(seconds=0.05))
    assert [text for entry in entries.errors for text in entry.values()] == [
        "the task was not finished within 0.05 s"
    ] * 3


async def test_items_are_run_by_as_many_workers_as_may_be_under_way_and_no_task_each() -> None:
    go_on = asyncio.Event()
    before = len(asyncio.all_tasks())
    running = asyncio.create_task(run(items(*[go_on.wait] * 1_000), concurrency=3))
    await eventually(lambda: len(asyncio.all_tasks()) > before + 1)
    assert len(asyncio.all_tasks()) <= before + 1 + 3
    go_on.set()
    assert len((await running).results) == 1_000


@pytest.mark.parametrize("kind", TASKS)
async def test_many_items_that_are_quick_let_others_have_their_turn(
    kind: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callstream.tasks.run._TURN", -1)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    await run(items(*[TaskError("bad")] * 100), kind, concurrency=1)
    counting.cancel()
    assert turns >= 100


async def test_a_handler_that_cancels_its_own_task_loses_no_entry() -> None:
    async def cancel() -> None:
        current = asyncio.current_task()
        assert current is not None
        current.cancel()
        await asyncio.sleep(0)

    entries = await run(items(cancel, 1, cancel), concurrency=2)
    assert len(entries.results) + len(entries.errors) == 3


async def test_the_text_of_an_error_is_cut() -> None:
    (entry,) = (await run(items(TaskError("x" * 600_000)))).errors
    assert entry == {"item_0": "x" * 999 + "…"}


async def test_what_the_items_come_to_takes_its_room_until_who_asked_has_done_with_it() -> None:
    budget = Budget(10_000)
    with budget.share() as share:
        context = replace(CONTEXT, answers=share)
        work = items("x" * 100, TaskError("y" * 50), *[0] * 10)
        entries = await run_items(ACT, work, context, Limits(1, PATIENT, PATIENT), EXECUTORS)
        assert budget.used > sum(map(sys.getsizeof, [*entries.results, *entries.errors]))
    assert budget.used == 0


@pytest.mark.parametrize("kind", TASKS)
async def test_results_that_can_not_be_written_anyway_are_not_kept(kind: Task) -> None:
    budget = Budget(10_000)
    with budget.share() as share:
        limits = Limits(2, PATIENT, PATIENT, size=250)
        entries = await run_items(kind, items(*["x" * 100] * 5), replace(CONTEXT, answers=share), limits, EXECUTORS)
        assert entries == entries._replace(results=[], errors=[], too_large=True)
        assert budget.used == 0


async def test_without_room_a_result_waits_for_it_and_an_error_comes_only_of_the_tasks_own_time() -> None:
    budget = Budget(1_000)
    with budget.share() as lead, budget.share() as first, budget.share() as second:
        await lead.take(1_001)  # beyond the limit, so that others wait
        await first.take(1_000)
        limits = Limits(1, PATIENT, timedelta(seconds=0.05))
        late = await run_items(ACT, items("text"), replace(CONTEXT, answers=second), limits, EXECUTORS)
        assert read_again(late).errors == [{"item_0": "the task was not finished within 0.05 s"}]
        limits = Limits(1, PATIENT, PATIENT)
        waiting = asyncio.create_task(
            run_items(ACT, items("text"), replace(CONTEXT, answers=second), limits, EXECUTORS)
        )
        await eventually(lambda: budget.is_waited_for)
        first.give(1_000)
        assert read_again(await waiting).results == [{"item_0": "text"}]


async def test_when_the_entries_have_become_too_large_no_more_items_are_begun() -> None:
    begun = 0

    async def large() -> str:
        nonlocal begun
        begun += 1
        return "x" * 100

    limits = Limits(2, PATIENT, PATIENT, size=250)
    entries = await run_items(ACT, items(*[large] * 50), CONTEXT, limits, EXECUTORS)
    assert entries.too_large
    assert begun <= 4
