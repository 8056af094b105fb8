"""A request becomes a result or a dead letter, whatever it brings."""

import asyncio
import gc
import json
from datetime import UTC, datetime
from functools import partial
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from callstream.contract.dead_letters import Reason
from callstream.contract.headers import task_id_of
from callstream.contract.messages import Item, TaskResult
from callstream.contract.records import Headers, OutgoingRecord, Record
from callstream.runtime.settings import Settings
from callstream.tasks import TaskContext, load_tasks, task
from stream_app.output import Output, ProduceError, RecordTooLargeError
from stream_app.reading import UnreadableError
from stream_app.task_agent import TaskAgent
from tests.unit.executors import EXECUTORS
from tests.unit.records import CALLBACK_URL, RECEIVED, Broker, header, record

EXAMPLE = {
    "callback_url": CALLBACK_URL,
    "message": [
        {"name": "calc_0", "num_1": 123, "num_2": 0.75647, "operation": "+", "result_rounding": 2},
        {"name": "calc_1", "num_1": 1, "num_2": 0, "operation": "/", "result_rounding": 2},
        {"name": "calc_2", "num_1": 785687256, "num_2": 0.75647, "operation": "-", "result_rounding": 4},
    ],
}
CONTEXT = TaskContext(httpx.AsyncClient(), 1_000)  # one for all: each client reads the system's certificates
TRACE: Headers = (("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),)


@task("odd", path="/v1/odd", runs="inline")
def odd(_: Item) -> Any:
    """Return what JSON does not have."""
    return {float("nan"), "\ud800"}


@task("long", path="/v1/long", runs="inline")
def long(_: Item) -> str:
    """Return what fits once."""
    return "x" * 2 * 2**20


class Held(Item):
    """One that can be told from what other tests have left."""


@task("held", path="/v1/held")
async def hold(item: Held) -> str:
    """Hold the items for ever."""
    await asyncio.Event().wait()
    return item.name


@task("kept", path="/v1/kept")
async def keep(item: Held) -> str:
    """Return so many characters as an item is named, or hold it for ever."""
    return "x" * int(item.name) if item.name else await hold.handler(item)  # type: ignore[misc]


def settings(**values: Any) -> Settings:
    return Settings.model_validate(values)


def agent(output: Output, **values: Any) -> TaskAgent:
    tasks = {**load_tasks(), "odd": odd, "long": long, "held": hold, "kept": keep}
    return TaskAgent(settings(**values), tasks, CONTEXT, EXECUTORS, output)


def result(broker: Broker) -> TaskResult:
    assert broker.only.value is not None
    return TaskResult.model_validate_json(broker.only.value)


async def test_a_request_becomes_a_result_of_its_items_in_order(broker: Broker, output: Output) -> None:
    await agent(output).process(record(EXAMPLE, headers=(("ce_id", b"t-1"),)))
    written = result(broker)
    assert broker.only.topic == "task.results"
    assert (written.task_id, written.task, written.callback_url) == ("t-1", "calculation", CALLBACK_URL)
    assert written.results == [{"calc_0": 123.76}, {"calc_2": 785687255.2435}]
    assert written.errors == [{"calc_1": "division by zero"}]
    assert written.times.received == datetime.fromtimestamp(RECEIVED, UTC)
    assert written.times.started <= written.times.finished


@pytest.mark.parametrize("headers", [(), (("ce_id", b"t-1"), ("x", b"y")), (("traceparent", None),)])
async def test_a_result_is_keyed_by_its_task_and_carries_the_trace(
    broker: Broker, output: Output, headers: Headers
) -> None:
    request = record(EXAMPLE, key=b"any", headers=(*headers, *TRACE))
    await agent(output).process(request)
    task_id = task_id_of(request)
    assert (broker.only.key, header(broker.only, "ce_id")) == (task_id.encode(), task_id.encode())
    assert header(broker.only, "ce_type") == b"callstream.calculation.finished"
    assert header(broker.only, "content-type") == b"application/json"
    assert TRACE[0] in broker.only.headers
    assert "x" not in dict(broker.only.headers)


@pytest.mark.parametrize(
    ("value", "headers", "reason_and_error"),
    [
        (b"not json", (), (b"unreadable", b"Invalid JSON")),
        (None, (), (b"unreadable", b"no value")),
        ({"callback_url": CALLBACK_URL}, (), (b"unreadable", b"message: Field required")),
        (b" " * 501, (), (b"too-large", b"501 bytes; 500 are allowed")),
        (EXAMPLE, (("ce_id", b"a"), ("ce_id", b"b")), (b"unreadable", b"ce_id is there more than once")),
        (EXAMPLE, (("ce_id", b"\xff"),), (b"unreadable", b"ce_id is not")),
        (EXAMPLE, (("ce_id", None),), (b"unreadable", b"ce_id is not")),
    ],
)
async def test_a_record_that_cannot_be_read_is_a_dead_letter_with_the_reason(
    broker: Broker, output: Output, value: Any, headers: Headers, reason_and_error: tuple[bytes, bytes]
) -> None:
    request = record(value, headers=headers, key=b"key")
    await agent(output, gateway={"body_limit": 500}).process(request)
    letter = broker.taken[0]
    assert (letter.topic, letter.key, letter.value) == ("task.dead-letters", b"key", request.value)
    assert letter.headers[: len(headers)] == headers
    reason, error = reason_and_error
    assert header(letter, "dead_letter_reason") == reason
    assert error in (header(letter, "dead_letter_error") or b"")


def held_errors() -> list[object]:
    return [found for found in gc.get_objects() if isinstance(found, UnreadableError)]


class KeptErrors(Broker):
    """Looks, while it is asked to take a record, for errors that are still held."""

    def __init__(self) -> None:
        super().__init__()
        self._before = held_errors()  # which other tests left
        self.errors: list[object] = []

    async def produce(self, record: OutgoingRecord) -> None:
        await super().produce(record)
        self.errors += [error for error in held_errors() if all(error is not other for other in self._before)]


async def test_what_is_wrong_with_a_record_is_not_held_until_its_dead_letter_is_written() -> None:
    broker = KeptErrors()
    await agent(Output(broker, 2**20)).process(record({"callback_url": CALLBACK_URL, "message": [{}]}))
    assert [taken.topic for taken in broker.taken] == ["task.dead-letters", "task.results"]
    assert broker.errors == []


@pytest.mark.parametrize(
    ("value", "headers"),
    [
        ({"callback_url": CALLBACK_URL, "message": [{"name": "a"}]}, ()),
        ({"callback_url": CALLBACK_URL, "message": "\u2028", "padding": "x" * 500}, ()),
        (EXAMPLE, (("ce_id", b"a"), ("ce_id", b"b"))),
        (EXAMPLE, (("ce_id", b"\xff"),)),
        (EXAMPLE, (("callback_deadline", b"soon"),)),
    ],
)
async def test_a_record_that_says_where_to_call_back_is_told_why_it_cannot_be_read(
    broker: Broker, output: Output, value: Any, headers: Headers
) -> None:
    request = record(value, headers=headers)
    await agent(output, gateway={"body_limit": 500}).process(request)
    letter, failure = broker.taken
    assert letter.topic == "task.dead-letters"
    told = TaskResult.model_validate_json(failure.value or b"")
    assert (failure.topic, told.callback_url, told.results) == ("task.results", CALLBACK_URL, [])
    assert told.errors == [{"request": (header(letter, "dead_letter_error") or b"").decode()}]
    assert failure.key == told.task_id.encode()


@pytest.mark.parametrize("url", ["ftp://a.example/", "nowhere", 7])
async def test_a_record_whose_callback_url_cannot_be_used_is_a_dead_letter_alone(
    broker: Broker, output: Output, url: Any
) -> None:
    await agent(output).process(record({"callback_url": url, "message": []}))
    assert broker.only.topic == "task.dead-letters"


async def test_nothing_is_built_of_a_record_that_killed_its_process_to_put_it_aside(
    broker: Broker, output: Output
) -> None:
    request = record(b'{"callback_url": "%s", "message": [NaN]}' % CALLBACK_URL.encode())
    await agent(output).refuse(request, Reason.CRASHED, "the process died each time")
    assert broker.only.topic == "task.dead-letters"


@pytest.mark.parametrize("absent", [{"message": EXAMPLE["message"]}, {**EXAMPLE, "callback_url": None}])
async def test_without_a_callback_url_the_result_is_a_record_all_the_same(
    broker: Broker, output: Output, absent: dict[str, Any]
) -> None:
    await agent(output).process(record(absent))
    assert (result(broker).callback_url, len(result(broker).results)) == (None, 2)


async def test_without_a_callback_url_a_failure_is_a_result_too(broker: Broker, output: Output) -> None:
    await agent(output).process(record({"message": [{"name": "a"}]}))
    letter, failure = broker.taken
    told = TaskResult.model_validate_json(failure.value or b"")
    assert (letter.topic, failure.topic, told.callback_url) == ("task.dead-letters", "task.results", None)
    assert "message.0.num_1: Field required" in str(told.errors)


async def test_a_deadline_for_the_callback_is_passed_on(broker: Broker, output: Output) -> None:
    deadline = ("callback_deadline", b"2026-11-24T12:00:00Z")
    await agent(output).process(record(EXAMPLE, headers=(deadline,)))
    assert deadline in broker.only.headers


async def test_a_result_that_json_does_not_have_is_an_error_and_the_task_calls_back(
    broker: Broker, output: Output
) -> None:
    request = {"callback_url": CALLBACK_URL, "message": [{"name": "a"}]}
    await agent(output).process(record(request, topic="odd.requests"))
    assert result(broker).results == []
    assert [list(entry) for entry in result(broker).errors] == [["a"]]


async def test_a_result_that_is_too_large_is_an_error_of_every_item(broker: Broker, output: Output) -> None:
    broker.failures.append(RecordTooLargeError("too large"))
    await agent(output).process(record(EXAMPLE))
    assert result(broker).results == []
    text = "the results of this task are too large to be sent"
    assert result(broker).errors == [{f"calc_{number}": text} for number in range(3)]


async def test_results_too_large_for_any_record_are_never_put_together(broker: Broker, output: Output) -> None:
    request = {"callback_url": CALLBACK_URL, "message": [{"name": f"long_{number}"} for number in range(3)]}
    await agent(output, topics={"max_message_bytes": 3 * 2**20}).process(record(request, topic="long.requests"))
    assert broker.asked == 1
    assert [list(entry) for entry in result(broker).errors] == [["long_0"], ["long_1"], ["long_2"]]


async def test_a_request_of_more_items_than_the_limit_is_a_dead_letter_and_calls_back(
    broker: Broker, output: Output
) -> None:
    await agent(output, gateway={"item_limit": 2}).process(record(EXAMPLE))
    letter, failure = broker.taken
    text = "message: List should have at most 2 items after validation, not 3"
    assert (letter.topic, header(letter, "dead_letter_reason")) == ("task.dead-letters", b"unreadable")
    assert TaskResult.model_validate_json(failure.value or b"").errors == [{"request": text}]


async def test_a_task_of_which_even_the_errors_are_too_large_is_a_dead_letter(broker: Broker, output: Output) -> None:
    broker.failures.extend([RecordTooLargeError("too large")] * 2)
    request = record(EXAMPLE)
    await agent(output).process(request)
    letter, failure = broker.taken
    assert (letter.topic, letter.value) == ("task.dead-letters", request.value)
    assert header(letter, "dead_letter_reason") == b"too-large"
    assert TaskResult.model_validate_json(failure.value or b"").errors == [{"request": "the task's result: too large"}]


@pytest.mark.parametrize("value", [EXAMPLE, b"not json"])
async def test_a_broker_that_does_not_come_back_leaves_the_record_unfinished(
    broker: Broker, output: Output, value: Any
) -> None:
    broker.failures.extend([ProduceError("no leader")] * 100)
    with pytest.raises(ProduceError):
        await agent(output).process(record(value))


@pytest.mark.parametrize("timestamp", [1e300, -1e300, float("inf"), float("nan"), 2.0**62 / 1000])
async def test_a_time_that_no_calendar_has_holds_nothing_up(broker: Broker, output: Output, timestamp: float) -> None:
    await agent(output).process(record(EXAMPLE, timestamp=timestamp))
    assert result(broker).times.received == result(broker).times.started


@pytest.mark.parametrize(("delay", "waits"), [("0", []), ("2.5", [2.5])])
async def test_a_task_waits_first_as_long_as_the_settings_say(
    monkeypatch: pytest.MonkeyPatch, broker: Broker, output: Output, delay: str, waits: list[float]
) -> None:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        if seconds:  # or else others have their turn, as where the machine is busy
            waited.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    await agent(output, task_delay=delay).process(record(EXAMPLE))
    assert waited == waits
    assert len(broker.taken) == 1


def held_items() -> int:
    gc.collect()
    return sum(type(found) is Held for found in gc.get_objects())


@pytest.mark.parametrize(("delay", "most"), [("0", 3), ("1h", 0)])
async def test_no_items_are_built_but_those_under_way(output: Output, delay: str, most: int) -> None:
    request = {"callback_url": CALLBACK_URL, "message": [{"name": ""}] * 1_000}
    working = agent(output, task_delay=delay, tasks={"item_concurrency": 3})
    running = asyncio.create_task(working.process(record(request, topic="held.requests")))
    for _ in range(10):
        await asyncio.sleep(0)
    assert held_items() == most
    running.cancel()
    await asyncio.wait([running])


async def test_large_requests_are_read_one_at_a_turn_of_the_loop(
    output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns, read = 0, []

    def reading(*_: Any) -> None:
        read.append(turns)
        raise UnreadableError(Reason.UNREADABLE, "it is read once")

    async def turn() -> None:
        nonlocal turns
        while len(read) < 5:
            turns += 1
            await asyncio.sleep(0)

    monkeypatch.setattr("stream_app.task_agent.read", reading)
    working = agent(output)
    large = record({**EXAMPLE, "padding": "x" * 20_000})
    await asyncio.gather(turn(), *(working.process(large) for _ in range(5)))
    assert len(set(read)) == 5


def test_the_sources_are_the_requests_of_every_task_behind_the_prefix(output: Output) -> None:
    sources = agent(output, topics={"prefix": "blue."}).sources
    assert set(sources) >= {"blue.calculation.requests", "blue.data.requests", "blue.odd.requests"}


@example(value=b"{}", headers=[], key=None, timestamp=0.0)
@given(
    value=st.binary(max_size=100),
    headers=st.lists(st.tuples(st.sampled_from(["ce_id", "traceparent", "x"]), st.none() | st.binary(max_size=5))),
    key=st.none() | st.binary(max_size=5),
    timestamp=st.floats(),
)
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_record_brings_it_ends_as_a_dead_letter_with_its_value(
    value: bytes, headers: list[tuple[str, bytes | None]], key: bytes | None, timestamp: float
) -> None:
    broker = Broker()
    request = record(value, headers=tuple(headers), key=key, timestamp=timestamp)
    asyncio.run(agent(Output(broker, 2**20)).process(request))
    letter, *failure = broker.taken  # which is told where `callback_url` is absent and nothing else wrong with it
    assert (letter.topic, letter.value) == ("task.dead-letters", value)
    assert [told.topic for told in failure] in ([], ["task.results"])


def with_a_byte(value: bytes, at: int) -> bytes:
    """Return the value with one byte more, that is no UTF-8."""
    return value[:at] + b"\xff" + value[at:]


@example(value=b'{"callback_url":"\xff"}', headers=[])
@given(
    value=st.none()
    | st.binary()
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(CALLBACK_URL),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*EXAMPLE, "name", "num_1"]), inner),
        max_leaves=10,
    )
    .map(lambda whole: json.dumps(whole).encode())
    .flatmap(lambda value: st.just(value) | st.integers(0, len(value)).map(partial(with_a_byte, value))),
    headers=st.lists(st.tuples(st.sampled_from(["ce_id", "callback_deadline", "x"]), st.none() | st.binary())),
)
def test_whatever_a_record_holds_it_ends_as_a_result_or_a_dead_letter(
    value: bytes | None, headers: list[tuple[str, bytes | None]]
) -> None:
    broker = Broker()
    asyncio.run(agent(Output(broker, 2**20)).process(record(value, headers=tuple(headers))))
    topics = [taken.topic for taken in broker.taken]
    assert topics in (["task.results"], ["task.dead-letters"], ["task.dead-letters", "task.results"])


async def test_tasks_that_keep_much_and_hang_leave_others_of_their_type_room_and_all_other_types(
    broker: Broker, output: Output
) -> None:
    def kept(*names: str) -> Record:
        message = [{"name": name} for name in names]
        return record({"callback_url": CALLBACK_URL, "message": message}, topic="kept.requests")

    working = agent(output, tasks={"answer_bytes": 2**20, "item_concurrency": 2})
    hanging = [asyncio.create_task(working.process(kept(*["60000"] * 10, "", ""))) for _ in range(12)]
    try:
        for _ in range(1_000):
            await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await working.process(record(EXAMPLE))
            await working.process(kept("1000"))
    finally:
        for each in hanging:
            each.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)
    assert [written.topic for written in broker.taken] == ["task.results"] * 2


async def test_a_request_of_little_else_than_arrays_is_put_aside_and_calls_back(broker: Broker, output: Output) -> None:
    deep = b"[" * 50 + b"]" * 50
    value = b'{"callback_url":"%b","message":[],"x":[%b]}' % (CALLBACK_URL.encode(), b",".join([deep] * 5_000))
    await agent(output).process(record(value))
    letter, told = sorted(broker.taken, key=lambda written: written.topic)
    assert (letter.topic, told.topic) == ("task.dead-letters", "task.results")
    assert told.value is not None
    (error,) = TaskResult.model_validate_json(told.value).errors
    assert "arrays and objects" in str(error["request"])
