"""How bodies are validated: small ones at once, large ones in a process of their own."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import psutil
import pytest
from pydantic import model_validator

from callstream.tasks import Item, Task, load_tasks
from callstream.tasks import task as a_task
from gateway.problems import ProblemError, ValidationProblem
from gateway.validation import LARGE, Validator
from tests.support.waiting import eventually

VALID = {"callback_url": "http://receiver.example/", "message": []}
PLENTY = 30.0  # seconds
ITEMS = 10
CLIENT = "192.0.2.1"


def large(**changes: object) -> bytes:
    return json.dumps({**VALID, "padding": "x" * LARGE, **changes}).encode()


@pytest.fixture
def task() -> Task:
    return load_tasks()["calculation"]


@pytest.fixture
async def validator() -> AsyncIterator[Validator]:
    validator = Validator(2**20, ITEMS, PLENTY)
    async with validator.running():
        yield validator


def by(seconds: float = PLENTY) -> float:
    return asyncio.get_running_loop().time() + seconds


def processes() -> list[psutil.Process]:
    return [each for each in psutil.Process().children() if "gateway.validation_worker" in each.cmdline()]


async def test_a_small_body_starts_no_process(validator: Validator, task: Task) -> None:
    await validator.validate(task, json.dumps(VALID).encode(), CLIENT, by())
    with pytest.raises(ValidationProblem):
        await validator.validate(task, b"{}", CLIENT, by())
    assert not processes()


async def test_a_large_body_has_the_errors_that_a_small_one_has(validator: Validator, task: Task) -> None:
    await validator.validate(task, large(), CLIENT, by())
    told = []
    too_many: list[dict[str, object]] = [{}] * (ITEMS + 1)
    for wrong in ([{"name": 1}], too_many):
        for body in (large(message=wrong), json.dumps({**VALID, "message": wrong}).encode()):
            with pytest.raises(ValidationProblem) as found:
                await validator.validate(task, body, CLIENT, by())
            told.append(json.loads(found.value.body))
    assert told[0] == told[1]
    assert told[2] == told[3]
    assert len(processes()) == 1


class FragileItem(Item):
    @model_validator(mode="after")
    def fail(self) -> NoReturn:
        raise SystemExit(self.name)


@a_task("fragile", path="/v1/fragile")
def fragile(_: FragileItem) -> None:
    """Never run."""


async def test_whatever_a_validator_raises_is_an_error_of_its_body_alone(validator: Validator) -> None:
    body = json.dumps({**VALID, "message": [{"name": "a"}]}).encode()
    for _ in range(2):
        bodies = (validator.validate(fragile, body, CLIENT, by()) for _ in range(50))  # some in this turn, some later
        for found in await asyncio.gather(*bodies, return_exceptions=True):
            assert isinstance(found, ValidationProblem)
            (error,) = json.loads(found.body)["detail"]
            assert (error["type"], error["msg"]) == ("validator_failed", "SystemExit: a")


async def test_a_process_that_dies_is_a_503_and_is_replaced(validator: Validator, task: Task) -> None:
    await validator.validate(task, large(), CLIENT, by())
    (process,) = processes()
    process.send_signal(signal.SIGSTOP)
    asked = asyncio.create_task(validator.validate(task, large(), CLIENT, by()))
    await asyncio.sleep(0)
    process.kill()
    with pytest.raises(ProblemError) as refused:
        await asked
    assert (refused.value.status_code, refused.value.headers) == (503, {"Retry-After": "1"})
    await validator.validate(task, large(), CLIENT, by())


@contextmanager
def starting_late(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], object]]:
    """Let each process begin to start only when this is called."""
    door, program = directory / "door", directory / "late"
    os.mkfifo(door)
    program.write_text(f'#!/bin/sh\nread _ < {door}\nexec {sys.executable} "$@"\n')
    program.chmod(0o700)
    opened = os.open(door, os.O_RDWR)
    monkeypatch.setattr(sys, "executable", str(program))
    yield lambda: os.write(opened, b"\n")
    os.close(opened)


async def test_a_process_may_take_longer_to_start_than_a_body_may_and_serves_the_next(
    validator: Validator, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with starting_late(tmp_path, monkeypatch) as start:
        validator._deadline = 0.001
        for _ in range(2):
            with pytest.raises(ProblemError) as refused:
                await validator.validate(task, large(), CLIENT, by(0.2))
            assert (refused.value.status_code, refused.value.headers) == (503, {"Retry-After": "1"})
        (process,) = processes()
        validator._deadline = PLENTY
        start()
        await validator.validate(task, large(), CLIENT, by())
        assert processes() == [process]


async def test_a_process_that_starts_ends_with_the_gateway(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    validator = Validator(2**20, ITEMS, PLENTY)
    with starting_late(tmp_path, monkeypatch):
        async with validator.running():
            with pytest.raises(ProblemError):
                await validator.validate(task, large(), CLIENT, by(0.2))
            assert len(processes()) == 1
        assert not processes()


async def test_a_process_that_cannot_start_is_a_503_and_is_replaced(
    validator: Validator, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "/bin/false")
        with pytest.raises(ProblemError, match="died") as refused:
            await validator.validate(task, large(), CLIENT, by())
        assert refused.value.status_code == 503
    await validator.validate(task, large(), CLIENT, by())


async def test_who_cannot_have_a_turn_in_time_is_refused_and_the_next_is_served(
    validator: Validator, task: Task
) -> None:
    await validator.validate(task, large(), CLIENT, by())
    (process,) = processes()
    process.suspend()
    for _ in range(2):  # the first is asked and not answered, the second waits for its turn
        with pytest.raises(ProblemError):
            await validator.validate(task, large(), CLIENT, by(0.05))
    process.resume()
    await validator.validate(task, large(), CLIENT, by())
    assert [each.pid for each in processes()] == [process.pid], "it was not at fault"


async def test_a_process_that_does_not_answer_is_ended(task: Task) -> None:
    validator = Validator(2**20, ITEMS, 0.5)
    async with validator.running():
        validator._deadline = PLENTY
        await validator.validate(task, large(), CLIENT, by())
        validator._deadline = 0.05
        (process,) = processes()
        process.suspend()
        with pytest.raises(ProblemError):
            await validator.validate(task, large(), CLIENT, by())
        await eventually(lambda: not process.is_running())


def of_payload(unit: str) -> bytes:
    payload = ",".join([unit] * (2**20 // (len(unit) + 1) - 100))
    return (
        b'{"callback_url":"http://a.example/","message":[{"name":"","url":"x","payload":{"a":[%b]}}]}'
        % payload.encode()
    )


@pytest.mark.parametrize("unit", ["[" * 50 + "]" * 50, "[" * 150 + "]" * 150, "[[]]"])
async def test_a_body_of_little_else_than_arrays_is_refused_and_costs_no_process(
    validator: Validator, unit: str
) -> None:
    for _ in range(2):
        with pytest.raises(ValidationProblem, match=r"at most .* arrays and objects"):
            await validator.validate(load_tasks()["data"], of_payload(unit), CLIENT, by())
    assert len(processes()) == 1


@pytest.mark.parametrize("unit", ["[]", "[[1]]", '{"":{}}', '{"":1}'])
async def test_whatever_is_not_refused_has_its_memory(validator: Validator, unit: str) -> None:
    for _ in range(2):
        await validator.validate(load_tasks()["data"], of_payload(unit), CLIENT, by())
    assert len(processes()) == 1


async def test_a_body_whose_item_lacks_every_field_is_refused_and_costs_no_process(
    validator: Validator, task: Task
) -> None:
    """The error of each field that is missing has the whole item, of which there was one for each of them."""
    payload = b"[[ ]]," * (2**20 // 6 - 100)
    for _ in range(2):
        with pytest.raises(ValidationProblem) as found:
            await validator.validate(
                task,
                b'{"callback_url":"http://a.example/","message":[{"x":[%b0]}]}' % payload,
                CLIENT,
                by(),
            )
        assert [error["type"] for error in json.loads(found.value.body)["detail"]] == ["missing"] * 5
    assert len(processes()) == 1


@pytest.mark.parametrize(("limit", "most"), [("_memory", 0), ("_seconds", 0.001)])
async def test_a_body_that_takes_more_than_there_is_costs_the_process_and_is_not_to_come_again(
    validator: Validator, task: Task, limit: str, most: float
) -> None:
    usual = getattr(validator, limit)
    setattr(validator, limit, most)
    item = {"name": "a", "url": "http://a.example/", "payload": {"a": [[]] * 250_000}}
    with pytest.raises(ProblemError) as refused:
        await validator.validate(load_tasks()["data"], large(message=[item]), CLIENT, by())
    assert (refused.value.status_code, refused.value.headers) == (413, None)
    assert not any(process.is_running() for process in processes())
    setattr(validator, limit, usual)
    await validator.validate(task, large(), CLIENT, by())


async def test_one_client_after_the_other_has_a_large_body_validated(validator: Validator, task: Task) -> None:
    await validator.validate(task, large(), CLIENT, by())
    had: list[str] = []

    async def validate(name: str) -> None:
        await validator.validate(task, large(), name[0], by())
        had.append(name)

    await asyncio.gather(*map(validate, ["a1", "a2", "a3", "b1"]))
    assert had == ["a1", "a2", "b1", "a3"], "a1 was asked at once, a2 came next, and then the other"


async def test_what_is_past_its_deadline_is_not_validated(validator: Validator, task: Task) -> None:
    for wrong in (b"{}", large(message=1)):
        with pytest.raises(ProblemError) as refused:
            await validator.validate(task, wrong, CLIENT, by(-1))
        assert (refused.value.status_code, refused.value.headers) == (503, {"Retry-After": "1"})
    assert not processes()


async def test_the_process_ends_with_the_gateway(task: Task) -> None:
    validator = Validator(2**20, ITEMS, PLENTY)
    async with validator.running():
        await validator.validate(task, large(), CLIENT, by())
    assert not processes()


async def test_who_waits_for_a_turn_while_the_gateway_stops_starts_no_other_process(task: Task) -> None:
    validator = Validator(2**20, ITEMS, PLENTY)
    async with validator.running():
        await validator.validate(task, large(), CLIENT, by())
        (process,) = processes()
        process.suspend()
        asked = [asyncio.create_task(validator.validate(task, large(), CLIENT, by())) for _ in range(3)]
        await asyncio.sleep(0)
    _, *waited = await asyncio.gather(*asked, return_exceptions=True)
    assert not processes()
    assert [type(error) for error in waited] == [ProblemError] * 2
