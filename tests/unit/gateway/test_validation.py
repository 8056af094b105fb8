"""How bodies are validated: small ones at once, large ones in a process of their own."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator

import psutil
import pytest

from callstream.tasks import Task, load_tasks
from gateway.problems import ProblemError, ValidationProblem
from gateway.validation import LARGE, Validator
from tests.support.waiting import eventually

VALID = {"callback_url": "http://receiver.example/", "message": []}
PLENTY = 30.0  # seconds
ITEMS = 10


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
    await validator.validate(task, json.dumps(VALID).encode(), by())
    with pytest.raises(ValidationProblem):
        await validator.validate(task, b"{}", by())
    assert not processes()


async def test_a_large_body_has_the_errors_that_a_small_one_has(validator: Validator, task: Task) -> None:
    await validator.validate(task, large(), by())
    told = []
    too_many: list[dict[str, object]] = [{}] * (ITEMS + 1)
    for wrong in ([{"name": 1}], too_many):
        for body in (large(message=wrong), json.dumps({**VALID, "message": wrong}).encode()):
            with pytest.raises(ValidationProblem) as found:
                await validator.validate(task, body, by())
            told.append(json.loads(found.value.body))
    assert told[0] == told[1]
    assert told[2] == told[3]
    assert len(processes()) == 1


async def test_a_process_that_dies_is_a_503_and_is_replaced(validator: Validator, task: Task) -> None:
    await validator.validate(task, large(), by())
    (process,) = processes()
    process.send_signal(signal.SIGSTOP)
    asked = asyncio.create_task(validator.validate(task, large(), by()))
    await asyncio.sleep(0)
    process.kill()
    with pytest.raises(ProblemError) as refused:
        await asked
    assert (refused.value.status_code, refused.value.headers) == (503, {"Retry-After": "1"})
    await validator.validate(task, large(), by())


async def test_who_cannot_have_a_turn_in_time_is_refused_and_the_next_is_served(
    validator: Validator, task: Task
) -> None:
    await validator.validate(task, large(), by())
    (process,) = processes()
    process.suspend()
    for _ in range(2):  # the first is asked and not answered, the second waits for its turn
        with pytest.raises(ProblemError):
            await validator.validate(task, large(), by(0.05))
    process.resume()
    await validator.validate(task, large(), by())
    assert [each.pid for each in processes()] == [process.pid], "it was not at fault"


async def test_a_process_that_does_not_answer_is_ended(task: Task) -> None:
    validator = Validator(2**20, ITEMS, 0.5)
    async with validator.running():
        validator._deadline = PLENTY
        await validator.validate(task, large(), by())
        validator._deadline = 0.05
        (process,) = processes()
        process.suspend()
        with pytest.raises(ProblemError):
            await validator.validate(task, large(), by())
        await eventually(lambda: not process.is_running())


async def test_a_body_that_needs_more_memory_than_there_is_costs_the_process_alone(task: Task) -> None:
    item = {"name": "a", "url": "http://a.example/", "payload": {"a": [[]] * 250_000}}
    validator = Validator(body_limit=0, item_limit=ITEMS, deadline=1)
    async with validator.running():
        with pytest.raises(ProblemError) as refused:
            await validator.validate(load_tasks()["data"], large(message=[item]), by())
        assert refused.value.status_code == 503
        validator._deadline = PLENTY
        await validator.validate(task, large(), by())


async def test_the_process_ends_with_the_gateway(task: Task) -> None:
    validator = Validator(2**20, ITEMS, PLENTY)
    async with validator.running():
        await validator.validate(task, large(), by())
    assert not processes()
