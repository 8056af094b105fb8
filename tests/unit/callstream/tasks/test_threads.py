"""Handlers that may block: they hold up nobody else, however long they take."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

import httpx
import pytest
import structlog.testing

from callstream.contract.messages import Item
from callstream.tasks import Task, TaskContext, task
from callstream.tasks.executors import Executors, open_executors
from callstream.tasks.processes import Processes
from callstream.tasks.run import Limits, run_items
from callstream.tasks.threads import Threads
from tests.support.waiting import eventually
from tests.unit.entries import Entries, read_again

CONTEXT = TaskContext(httpx.AsyncClient(), 1_000)
PATIENT = timedelta(seconds=60)
SHORT = timedelta(milliseconds=50)
LATE = "no result within 0.05 s"

request_id: ContextVar[str] = ContextVar("request_id")


class Work(Item):
    call: Any


@task("work", path="/v1/work")
def work(item: Work) -> Any:
    return item.call()


@task("other", path="/v1/other")
def other(item: Work) -> Any:
    return item.call()


async def run(
    threads: Threads,
    *calls: Any,
    of: Task = work,
    deadline: timedelta = PATIENT,
    whole: timedelta = PATIENT,
    concurrency: int = 10,
) -> Entries:
    items = [Work(name=f"item_{number}", call=call) for number, call in enumerate(calls)]
    executors = Executors(threads, Processes(1, 1))
    return read_again(await run_items(of, items, CONTEXT, Limits(concurrency, deadline, whole), executors))


def full(threads: Threads, of: Task = work) -> bool:
    return not threads._places._lanes.has(of.name)


@contextmanager
def stuck() -> Iterator[threading.Event]:
    """Give a call that ends with the block."""
    event = threading.Event()
    try:
        yield event
    finally:
        event.set()


async def test_an_ordinary_handler_does_not_run_in_the_event_loops_thread() -> None:
    (entry,) = (await run(Threads(1, 1), threading.get_ident)).results
    assert entry["item_0"] != threading.get_ident()


async def test_a_handler_sees_the_context_variables_of_its_task() -> None:
    request_id.set("r-1")
    assert (await run(Threads(1, 1), request_id.get)).results == [{"item_0": "r-1"}]


async def test_no_more_items_than_threads_are_under_way_and_no_fewer() -> None:
    begun: list[int] = []
    with stuck() as end:

        def wait() -> None:
            begun.append(threading.get_ident())
            end.wait()

        running = asyncio.create_task(run(Threads(3, 1), *[wait] * 7))
        await eventually(lambda: len(begun) == 3)
        end.set()
        assert len((await running).results) == 7
    assert len(begun) == 7
    assert len(set(begun)) == 3


async def test_waiting_for_a_thread_is_not_charged_to_the_item() -> None:
    with stuck() as end:
        asyncio.get_running_loop().call_later(0.15, end.set)
        threads = Threads(1, 1)
        first = asyncio.create_task(run(threads, end.wait))
        await eventually(lambda: full(threads))
        assert (await run(threads, lambda: 1, deadline=timedelta(milliseconds=100))).results == [{"item_0": 1}]
        await first


async def test_waiting_for_a_thread_ends_with_the_time_of_the_task() -> None:
    with stuck() as end:
        threads = Threads(1, 1)
        first = asyncio.create_task(run(threads, end.wait))
        await eventually(lambda: full(threads))
        entries = await run(threads, lambda: 1, whole=SHORT)
        assert entries.errors == [{"item_0": "the task was not finished within 0.05 s"}]
        end.set()
        assert (await first).results == [{"item_0": True}]
    assert (await run(threads, lambda: 1)).results == [{"item_0": 1}]


async def test_a_thread_that_does_not_end_is_left_behind_and_holds_up_no_other_item() -> None:
    with stuck() as end:
        entries = await run(Threads(1, 1), end.wait, lambda: 1, deadline=SHORT, concurrency=1)
    assert entries == Entries([{"item_1": 1}], [{"item_0": LATE}])


async def test_a_thread_that_ends_late_and_had_no_place_gives_none_back() -> None:
    threads = Threads(1, 1)
    with stuck() as late:
        await run(threads, late.wait, deadline=SHORT)
    await eventually(lambda: not threads._left["work"])
    with stuck() as end:
        running = asyncio.create_task(run(threads, end.wait))
        await eventually(lambda: full(threads))
    await running


async def test_when_every_thread_is_stuck_items_wait_for_one_as_long_as_their_task_has_time() -> None:
    threads = Threads(2, 1)
    with stuck() as last, stuck() as end, structlog.testing.capture_logs() as logs:
        assert (await run(threads, last.wait, *[end.wait] * 3, deadline=SHORT)).results == []
        assert (logs[-1]["log_level"], logs[-1]["left"], logs[-1]["task"]) == ("error", 4, "work")
        late = await run(threads, lambda: 1, whole=SHORT)
        assert late.errors == [{"item_0": "the task was not finished within 0.05 s"}]
        waiting = asyncio.create_task(run(threads, *[lambda: 1] * 5))
        await eventually(lambda: threads._places._waiting)
        end.set()
        assert len((await waiting).results) == 5
        await eventually(lambda: len(threads._left["work"]) == 1)


async def test_threads_that_a_rebalance_left_at_work_make_no_error_of_what_comes_next() -> None:
    threads = Threads(2, 1)
    begun: list[int] = []
    with stuck() as end:

        def wait() -> None:
            begun.append(1)
            end.wait()

        for _ in range(2):
            begun.clear()
            revoked = asyncio.create_task(run(threads, wait, wait))
            await eventually(lambda: len(begun) == 2)
            revoked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await revoked
        taken_over = asyncio.create_task(run(threads, *[lambda: 1] * 4))
        await eventually(lambda: taken_over.done() or threads._places._waiting)
        end.set()
        assert await taken_over == Entries([{f"item_{number}": 1} for number in range(4)], [])


async def test_a_cancelled_task_gives_its_place_to_the_next() -> None:
    threads = Threads(1, 1)
    with stuck() as end:
        running, waiting = [asyncio.create_task(run(threads, end.wait)) for _ in range(2)]
        await eventually(lambda: threads._places._waiting)
        for cancelled in (waiting, running):
            cancelled.cancel()
            with pytest.raises(asyncio.CancelledError):
                await cancelled
        assert (await run(threads, lambda: 1)).results == [{"item_0": 1}]
    await eventually(lambda: not threads._left["work"])
    assert not full(threads)


async def test_a_task_type_that_holds_all_it_can_leaves_others_their_threads() -> None:
    async with open_executors(4, 1, [work, other]) as executors:
        threads = executors.thread
        assert isinstance(threads, Threads)
        with stuck() as end:
            busy = [asyncio.create_task(run(threads, *[end.wait] * 4)) for _ in range(2)]
            await eventually(lambda: threads._places._waiting)
            assert (await run(threads, *[lambda: 1] * 4, of=other)).errors == []
            assert not any(running.done() for running in busy)
            end.set()
            assert [len(entries.results) for entries in await asyncio.gather(*busy)] == [4, 4]


async def test_a_task_type_whose_threads_all_hang_leaves_others_theirs() -> None:
    threads = Threads(4, 2)
    with stuck() as end:
        await run(threads, *[end.wait] * 5, deadline=SHORT)
        assert full(threads)
        assert (await run(threads, *[lambda: 1] * 4, of=other)).errors == []
        entries = await run(threads, end.wait, lambda: 1, of=other, deadline=SHORT, concurrency=1)
        assert entries == Entries([{"item_1": 1}], [{"item_0": LATE}])


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), StopIteration(), GeneratorExit()])
async def test_what_would_end_a_thread_is_its_items_error_alone(error: BaseException) -> None:
    def fail() -> None:
        raise error

    entries = await run(Threads(1, 1), fail, lambda: 1)
    assert entries.results == [{"item_1": 1}]
    assert [list(entry) for entry in entries.errors] == [["item_0"]]


async def test_idle_threads_end_when_they_are_not_needed_any_more() -> None:
    before = threading.active_count()
    threads = Threads(3, 1)
    await run(threads, *[lambda: 1] * 3)
    threads.close()
    await eventually(lambda: threading.active_count() <= before)
