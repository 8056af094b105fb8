"""A result is delivered, or becomes a dead letter that says why."""

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from callstream.contract.messages import TaskResult, Times
from callstream.contract.records import Record
from callstream.runtime.settings import Settings
from stream_app.callback_agent import CallbackAgent
from stream_app.outcome import Delivered, Failed, Outcome, Refused, Unreachable
from stream_app.output import Output
from tests.unit.records import CALLBACK_URL, Broker, header, record

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RESULT = TaskResult(
    task_id="t-1",
    task="calculation",
    callback_url=CALLBACK_URL,
    results=[{"calc_0": 123.76}, {"calc_0": 2.0}],
    errors=[{"calc_2": "division by zero"}],
    times=Times(received=NOW, started=NOW, finished=NOW),
)
FAILURES: list[Outcome] = [Failed(500), Unreachable("no answer within 15 s"), Failed(302), Failed(503)]


class Receiver:
    """Answers each attempt with the next outcome and keeps what it was sent."""

    def __init__(self, *outcomes: Outcome) -> None:
        self._outcomes = iter(outcomes)
        self.sent: list[tuple[str, bytes, Mapping[str, str]]] = []

    async def attempt(self, url: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
        self.sent.append((url, body, headers))
        return next(self._outcomes)


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Wait for nothing; return how long it would have been, in seconds."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return waits


def agent(receiver: Receiver, output: Output, **callbacks: Any) -> CallbackAgent:
    return CallbackAgent(Settings.model_validate({"callbacks": callbacks}), receiver, output)


def finished() -> Record:
    return record(RESULT.model_dump_json().encode(), topic="task.results", key=b"t-1", headers=(("ce_id", b"t-1"),))


async def test_a_delivered_result_leaves_nothing_more_to_do(broker: Broker, output: Output) -> None:
    receiver = Receiver(Delivered(204))
    await agent(receiver, output).process(finished())
    assert len(receiver.sent) == 1
    assert broker.taken == []


async def test_the_callback_is_exactly_what_the_contract_says(output: Output) -> None:
    receiver = Receiver(Delivered(200))
    await agent(receiver, output).process(finished())
    ((url, body, headers),) = receiver.sent
    assert url == CALLBACK_URL
    assert json.loads(body) == {
        "results": [{"calc_0": 123.76}, {"calc_0": 2.0}],
        "errors": [{"calc_2": "division by zero"}],
        "task_id": "t-1",
    }
    assert headers == {"content-type": "application/json", "webhook-id": "t-1"}


async def test_a_receiver_that_is_gone_is_not_asked_again(broker: Broker, output: Output, waited: list[float]) -> None:
    receiver, result = Receiver(Refused()), finished()
    await agent(receiver, output).process(result)
    assert (len(receiver.sent), waited) == (1, [])
    assert (broker.only.topic, broker.only.value) == ("callback.dead-letters", result.value)
    assert header(broker.only, "dead_letter_reason") == b"refused"
    assert header(broker.only, "dead_letter_error") == b"the receiver answered 410"


@pytest.mark.parametrize("failures", [1, 2, 3])
async def test_a_failed_callback_is_sent_again_after_the_scheduled_waits_and_is_the_same(
    broker: Broker, output: Output, waited: list[float], failures: int
) -> None:
    receiver = Receiver(*FAILURES[:failures], Delivered(200))
    await agent(receiver, output, schedule="0.5,2,5").process(finished())
    assert waited == [0.5, 2, 5][:failures]
    assert receiver.sent == [receiver.sent[0]] * (failures + 1)
    assert broker.taken == []


@pytest.mark.parametrize(("schedule", "attempts"), [(",", 1), ("1", 2), ("0.5,2,5", 4)])
async def test_when_the_schedule_ends_the_result_is_a_dead_letter_with_the_last_outcome(
    broker: Broker, output: Output, waited: list[float], schedule: str, attempts: int
) -> None:
    receiver, result = Receiver(*FAILURES), finished()
    await agent(receiver, output, schedule=schedule).process(result)
    assert len(receiver.sent) == attempts == len(waited) + 1
    assert (broker.only.topic, broker.only.key, broker.only.value) == ("callback.dead-letters", b"t-1", result.value)
    assert header(broker.only, "dead_letter_reason") == b"exhausted"
    assert ("ce_id", b"t-1") in broker.only.headers


@pytest.mark.parametrize(
    "value",
    [
        b"not json",
        None,
        RESULT.model_dump_json().replace(CALLBACK_URL, "file:///etc/passwd").encode(),
        RESULT.model_dump_json().replace("123.76", "NaN").encode(),
    ],
)
async def test_a_result_that_cannot_be_read_is_our_own_dead_letter_and_nobody_is_called(
    broker: Broker, output: Output, value: bytes | None
) -> None:
    receiver = Receiver()
    await agent(receiver, output).process(record(value, topic="task.results"))
    assert receiver.sent == []
    assert (broker.only.topic, broker.only.value) == ("task.dead-letters", value)
    assert header(broker.only, "dead_letter_reason") == b"unreadable"


def test_the_source_is_the_results_topic_behind_the_prefix(output: Output) -> None:
    settings = Settings.model_validate({"topics": {"prefix": "blue."}})
    assert CallbackAgent(settings, Receiver(), output).sources == ["blue.task.results"]
