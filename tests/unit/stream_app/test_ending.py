"""Whatever happens in stopping, the process is gone in time, and after a failure with a code that says so."""

import json
import subprocess
import sys
from typing import NamedTuple

import pytest

from tests.support.endings import STEPS, cases

LEAVING = """
import asyncio
from datetime import timedelta
from stream_app.ending import Ending, run_to_the_end

async def leave() -> None:
    raise SystemExit(3)

async def main(_: Ending) -> None:
    print("went on", *await asyncio.gather(asyncio.create_task(leave()), return_exceptions=True), flush=True)

run_to_the_end("tasks", timedelta(seconds=1), main)
"""


class Outcome(NamedTuple):
    exit_code: int | None  # None: it was still there
    log: str


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Outcome]:
    command = [sys.executable, "-m", "tests.support.endings"]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return {case: Outcome(*outcome) for case, outcome in json.loads(run.stdout).items()}


@pytest.mark.parametrize("case", cases())
def test_a_process_whose_stop_goes_wrong_ends(case: str, outcomes: dict[str, Outcome]) -> None:
    exit_code, log = outcomes[case]
    assert exit_code is not None, f"it goes on\n{log}"
    way, step, beginning = case.split("/")
    hangs = way in {"hang", "deaf"}
    if beginning in {"failure", "crash"} or not hangs:
        assert exit_code != 0, log
    if hangs and step not in STEPS[1:]:  # what Faust does not end in time is given up: the broker may be away
        assert exit_code == (beginning not in {"signal", "signals"}), log
    if way == "full-stderr":
        return  # nobody reads what it says
    assert "process.stuck" in log or "Timeout" in log or "process.stopped" in log or "process.failed" in log, log


def test_what_is_stuck_is_told_with_its_place(outcomes: dict[str, Outcome]) -> None:
    line = json.loads(outcomes["block/app.stop/failure"].log.splitlines()[-1])
    assert line["event"] == "process.stuck"
    assert line["at"].endswith("in _block")


def test_a_task_that_raises_systemexit_has_ended_itself_alone() -> None:
    run = subprocess.run([sys.executable, "-c", LEAVING], capture_output=True, text=True, timeout=60, check=False)
    assert (run.returncode, "went on 3" in run.stdout) == (0, True), run
