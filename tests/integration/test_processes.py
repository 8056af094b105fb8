"""CPU-heavy handlers: each item in a process, which may hang or die without harm to any other item."""

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import httpx
import psutil
import pytest

from callstream.tasks import Task, TaskContext
from callstream.tasks.executors import Executors, open_executors
from callstream.tasks.processes import Processes
from callstream.tasks.run import Limits, run_items
from tests.support.heavy import Deed, heavy, heavy_too
from tests.support.waiting import eventually
from tests.unit.entries import Entries, read_again

CONTEXT = TaskContext(httpx.AsyncClient(), 1_000)
PATIENT = timedelta(seconds=60)
SHORT = timedelta(milliseconds=200)
LATE = "no result within 0.2 s"


@pytest.fixture
async def executors() -> AsyncIterator[Executors]:
    async with open_executors(1, 1, [heavy]) as executors:
        yield executors


async def run(
    executors: Executors, *deeds: Deed, of: Task = heavy, deadline: timedelta = PATIENT, whole: timedelta = PATIENT
) -> Entries:
    return read_again(await run_items(of, deeds, CONTEXT, Limits(10, deadline, whole), executors))


async def test_items_share_a_process_which_is_not_ours(executors: Executors) -> None:
    entries = await run(executors, Deed(name="a"), Deed(name="b"))
    first, second = entries.results
    assert first["a"] == second["b"] != os.getpid()


@pytest.mark.parametrize(
    ("deed", "text"),
    [
        ("raise", "half a pair: \\ud83d"),
        ("leave", "SystemExit: 3"),
        ("set", "the result is not JSON: "),
        ("exit", "the process that ran it ended with exit code 3"),
        ("die", "the process that ran it ended with SIGKILL"),
        ("hang", LATE),
    ],
)
async def test_whatever_becomes_of_a_process_is_its_items_error_alone(
    executors: Executors, deed: str, text: str
) -> None:
    deeds = [Deed(name="a"), Deed.model_validate({"name": "bad", "does": deed}), Deed(name="b")]
    entries = await run(executors, *deeds, deadline=SHORT)
    assert [list(entry) for entry in entries.results] == [["a"], ["b"]]
    assert str(entries.errors[0]["bad"]).startswith(text)
    a, b = (next(iter(entry.values())) for entry in entries.results)
    assert (a == b) is (deed in {"raise", "leave", "set"}), "a process goes on unless it hung or died"


async def test_what_a_handler_prints_is_no_answer_and_there_is_nothing_to_read(
    executors: Executors, capfd: pytest.CaptureFixture[str]
) -> None:
    assert (await run(executors, Deed(name="a", does="print"))).results == [{"a": ""}]
    assert "on standard output" in capfd.readouterr().err


async def test_a_process_that_hangs_is_killed_with_what_it_has_started(executors: Executors, tmp_path: Path) -> None:
    file = tmp_path / "pids"
    entries = await run(
        executors, Deed(name="a", does="hang-with-child", file=str(file)), deadline=timedelta(seconds=2)
    )
    assert entries.errors == [{"a": "no result within 2 s"}]
    pids = [int(pid) for pid in file.read_text().split()]
    await eventually(lambda: not any(alive(pid) for pid in pids))


async def test_waiting_for_a_process_ends_with_the_time_of_the_task(executors: Executors) -> None:
    await run(executors, Deed(name="a"))
    entries = await run(executors, Deed(name="a", does="hang"), Deed(name="b"), whole=SHORT)
    assert entries.errors == [{name: "the task was not finished within 0.2 s"} for name in ("a", "b")]


async def test_an_idle_process_that_died_is_replaced(executors: Executors) -> None:
    ((entry,),) = [(await run(executors, Deed(name="a"))).results]
    (pid,) = entry.values()
    assert isinstance(pid, int)
    psutil.Process(pid).kill()
    await eventually(lambda: not alive(pid))
    assert [list(entry) for entry in (await run(executors, Deed(name="b"))).results] == [["b"]]


async def test_processes_end_when_they_are_not_needed_any_more() -> None:
    before = set(psutil.Process().children())
    async with open_executors(1, 2, [heavy]) as executors:
        await run(executors, *[Deed(name="a")] * 4)
        children = set(psutil.Process().children()) - before
        assert len(children) == 2
    assert not any(alive(child.pid) for child in children)


async def test_a_task_type_that_holds_all_it_can_leaves_others_their_processes() -> None:
    async with open_executors(1, 2, [heavy, heavy_too]) as executors:
        hanging = asyncio.create_task(run(executors, *[Deed(name="a", does="hang")] * 4))
        processes = executors.process
        assert isinstance(processes, Processes)
        await eventually(lambda: processes._places._waiting)
        assert (await run(executors, Deed(name="b"), of=heavy_too, whole=timedelta(seconds=20))).errors == []
        assert not hanging.done()
        hanging.cancel()
        with pytest.raises(asyncio.CancelledError):
            await hanging


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
