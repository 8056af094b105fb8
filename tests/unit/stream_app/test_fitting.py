"""Whatever comes in at either door, all that is written for it fits into its topic."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import httpx
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from callstream.contract.messages import Item
from callstream.contract.records import Headers, OutgoingRecord, Record, TopicPartition
from callstream.contract.sizes import least_record, size_of
from callstream.runtime.settings import Settings
from callstream.runtime.topic_shapes import topic_shapes
from callstream.tasks import TaskContext, TaskError, load_tasks, task
from stream_app.callback_agent import CallbackAgent
from stream_app.outcome import Failed, Forbidden, Outcome, Refused, Throttled, Unreachable
from stream_app.output import Output, RecordTooLargeError
from stream_app.receivers import Limits, Receivers
from stream_app.task_agent import TaskAgent
from tests.unit.executors import EXECUTORS

BODY, ITEMS = 4_096, 40
RECORD = least_record(BODY, ITEMS)
SETTINGS = Settings.model_validate(
    {
        "topics": {"max_message_bytes": RECORD},
        "gateway": {"body_limit": BODY, "item_limit": ITEMS},
        "callbacks": {"schedule": "5s,30s"},
    }
)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
CONTEXT = TaskContext(httpx.AsyncClient(), 1_000)  # one for all: each client reads the system's certificates
OUTCOMES: list[Outcome] = [
    Failed(500),
    Refused(),
    Throttled(429),
    Forbidden("x" * 700_000),
    Unreachable("ü" * 700_000),
]


class Text(Item):
    size: int
    fails: bool


@task("text", path="/v1/text", runs="inline")
def text(item: Text) -> str:
    """Return, or fail with, a text of some size."""
    if item.fails:
        raise TaskError("e" * item.size)
    return "r" * item.size


TASKS = {**load_tasks(), "text": text}
LARGEST = {name: shape.largest or 0 for name, shape in topic_shapes(SETTINGS, TASKS).items()}


class Broker:
    """Takes what fits, as a real one does, and keeps the topics of what did not."""

    def __init__(self) -> None:
        self.taken: list[OutgoingRecord] = []
        self.refused: list[str] = []

    async def produce(self, record: OutgoingRecord) -> None:
        if size_of(record) > LARGEST[record.topic]:
            self.refused.append(record.topic)
            raise RecordTooLargeError(record.topic)
        self.taken.append(record)


class Receiver:
    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome

    async def attempt(self, url: str, body: bytes, headers: Mapping[str, str]) -> Outcome:  # noqa: ARG002
        return self._outcome


class Signer:
    def headers(self, task_id: str, url: str, at: datetime, body: bytes) -> dict[str, str]:  # noqa: ARG002
        return {"webhook-id": task_id}


def read_back(written: OutgoingRecord) -> Record:
    return Record(TopicPartition(written.topic, 0), 7, written.key, written.value, written.headers, NOW.timestamp())


async def deliver(record: Record, outcome: Outcome, broker: Broker) -> None:
    """Process a result, and what becomes of it in the tiers, until it waits or goes no more."""
    limits = Limits(
        in_flight=9, queue=9, total=99, size=2**26, largest=2**22, failures=99, pauses=SETTINGS.callbacks.tiers
    )
    receivers = Receivers(limits)
    agent = CallbackAgent(
        SETTINGS, Receiver(outcome), Signer(), receivers, Output(broker, SETTINGS.sizes.dead_letter), clock=lambda: NOW
    )
    before = len(broker.taken)
    await agent.process(record)
    for written in broker.taken[before:]:
        if written.topic.startswith("callback.retry."):
            await agent.process(read_back(written))


def padded(record: Record, size: int) -> Record:
    """Return the record with its value, or else a header, made longer until it has `size` bytes."""
    missing = size - size_of(record)
    if missing <= 0:
        return record
    value = (record.value or b"") + b" " * missing
    longer = record._replace(value=value)
    return longer._replace(value=value[: len(value) - (size_of(longer) - size)])


def callback_url(size: int) -> str:
    return "http://receiver.example/".ljust(min(size, 2_048), "x")


large = st.sampled_from([BODY, RECORD // 2, RECORD - 200, RECORD, 3 * RECORD])
header = st.tuples(
    st.sampled_from(["tracestate", "traceparent", "x", "ü" * 50]), large.map(lambda size: b"h" * size)
) | st.sampled_from(
    [("ce_id", b"t-1"), ("callback_deadline", b"2026-02-01T00:00:00+00:00"), ("callback_attempts", b"9")]
)
headers = st.lists(header, max_size=2, unique_by=lambda found: found[0]).map(tuple)
whole = st.sampled_from([0, 0, 0, BODY - 1, BODY, BODY + 1, RECORD - 1, RECORD, 2 * RECORD, 3 * RECORD])
item = st.fixed_dictionaries(
    {
        "name": st.text(max_size=30) | st.sampled_from([0, 100, BODY // 2]).map(lambda size: "n" * size),
        "size": st.sampled_from([0, 300, 1_000, RECORD // 2, RECORD - 700, RECORD]),
        "fails": st.booleans(),
    }
)
quick = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=150, phases=[Phase.generate])


@quick
@given(st.lists(item, max_size=ITEMS), st.sampled_from([30, 2_048]), headers, whole, st.sampled_from(OUTCOMES))
async def test_all_that_comes_of_a_request_fits(
    items: list[dict[str, Any]], url: int, more: Headers, size: int, outcome: Outcome
) -> None:
    broker = Broker()
    value = json.dumps({"callback_url": callback_url(url), "message": items}, ensure_ascii=False).encode()
    request = padded(Record(TopicPartition("text.requests", 0), 42, None, value, more, NOW.timestamp()), size)
    await TaskAgent(SETTINGS, TASKS, CONTEXT, EXECUTORS, Output(broker, SETTINGS.sizes.dead_letter)).process(request)
    for written in list(broker.taken):
        if written.topic == "task.results":
            await deliver(read_back(written), outcome, broker)
    assert set(broker.refused) <= {"task.results"}  # where a short one stands in


@quick
@given(
    st.sampled_from(["t-1", "", "t" * 128, "ü"]) | large.map(lambda size: "t" * size),
    headers,
    whole,
    st.sampled_from(OUTCOMES),
)
async def test_all_that_comes_of_a_foreign_result_fits(
    task_id: str, more: Headers, size: int, outcome: Outcome
) -> None:
    broker = Broker()
    times = dict.fromkeys(("received", "started", "finished"), NOW.isoformat())
    url = callback_url(2_048)
    result = {"task_id": task_id, "task": "x", "callback_url": url, "results": [], "errors": [], "times": times}
    value = json.dumps(result).encode()
    record = padded(Record(TopicPartition("task.results", 0), 42, b"k" * 40, value, more, NOW.timestamp()), size)
    await deliver(record, outcome, broker)
    assert broker.taken
    assert broker.refused == []
