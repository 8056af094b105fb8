"""A result is delivered, waits for its next attempt, or becomes a dead letter that says why."""

import asyncio
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from callstream.contract.messages import TaskResult, Times, result_digest
from callstream.contract.records import OutgoingRecord, Record
from callstream.contract.retries import Progress, parked
from callstream.contract.sizes import memory_of
from callstream.runtime.settings import Settings
from stream_app.callback_agent import CallbackAgent
from stream_app.outcome import Delivered, Failed, Forbidden, Outcome, Refused, Throttled, Unreachable
from stream_app.output import Output
from stream_app.policy import Policy
from stream_app.receivers import Limits, Receivers
from stream_app.shares import Kind
from tests.support.virtual_time import in_virtual_time
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
SCHEDULE = "5s,30s,5m"


class Receiver:
    """Answers each attempt with the next outcome and keeps what it was sent."""

    def __init__(self, *outcomes: Outcome) -> None:
        self._outcomes = iter(outcomes)
        self.sent: list[tuple[str, bytes, Mapping[str, str]]] = []

    async def attempt(self, url: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
        self.sent.append((url, body, headers))
        return next(self._outcomes)


class Signer:
    def headers(self, task_id: str, url: str, at: datetime, body: bytes) -> dict[str, str]:  # noqa: ARG002
        return {"webhook-id": task_id, "webhook-timestamp": f"{at.timestamp():.0f}"}


class Bench:
    """An agent with a clock that stands still until it is told."""

    def __init__(self, broker: Broker, output: Output, *outcomes: Outcome, **callbacks: Any) -> None:
        self.now = NOW
        self.step = timedelta(0)  # from one look at the clock to the next
        self.broker = broker
        self.receiver = Receiver(*outcomes)
        settings = Settings.model_validate({"callbacks": {"schedule": SCHEDULE, **callbacks}})
        policy = Policy(settings.callbacks.schedule, settings.callbacks.retry_after_cap)
        limits = Limits(in_flight=1, queue=0, total=100, size=2**26, largest=2**22, failures=100, pauses=policy.pauses)
        self.receivers = Receivers(limits)
        self.agent = CallbackAgent(
            settings, self.receiver, Signer(), self.receivers, output, clock=self.clock, chance=lambda: 0.0
        )

    def clock(self) -> datetime:
        self.now += self.step
        return self.now

    @property
    def attempts(self) -> list[dict[str, Any]]:
        return [json.loads(taken.value or b"") for taken in self.broker.taken if taken.topic == "callback.attempts"]

    @property
    def onward(self) -> list[OutgoingRecord]:
        """What was produced beside the attempts."""
        return [taken for taken in self.broker.taken if taken.topic != "callback.attempts"]

    async def follow(self, first: Record) -> list[tuple[str, timedelta]]:
        """Process a result and what becomes of it in the tiers; return each tier and the time it came out again."""
        path: list[tuple[str, timedelta]] = []
        current = first
        while True:
            before = len(self.onward)
            await self.agent.process(current)
            if len(self.onward) == before or not self.onward[-1].topic.startswith("callback.retry."):
                return path
            left = self.onward[-1]
            current = waiting(left, self.now)
            self.now = datetime.fromtimestamp(self.agent.wake(current), UTC)
            path.append((left.topic, self.now - NOW))


def waiting(left: OutgoingRecord, at: datetime) -> Record:
    """Return what was produced as a record that is read from its tier."""
    return record(left.value, topic=left.topic, key=left.key, headers=left.headers, timestamp=at.timestamp())


@pytest.fixture
def bench(broker: Broker, output: Output) -> Callable[..., Bench]:
    return partial(Bench, broker, output)


def finished(*headers: tuple[str, bytes]) -> Record:
    return record(
        RESULT.model_dump_json().encode(), topic="task.results", key=b"t-1", headers=(("ce_id", b"t-1"), *headers)
    )


async def test_a_result_holds_as_many_bytes_at_its_receiver_as_the_workload_counts(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    b, result = bench(), finished(("x", b"y"))
    held = []

    async def attempt(*_: object) -> Outcome:
        held.append(b.receivers.held(Kind.NEW))
        return Delivered(204)

    monkeypatch.setattr(b.receiver, "attempt", attempt)
    await b.agent.process(result)
    assert held == [(1, memory_of(result))]


async def test_a_delivered_result_leaves_nothing_but_its_attempt(bench: Callable[..., Bench]) -> None:
    b = bench(Delivered(204))
    await b.agent.process(finished())
    assert b.onward == []
    (attempt,) = b.attempts
    assert attempt == {
        "task_id": "t-1",
        "number": 1,
        "receiver": "http://receiver.example:80",
        "outcome": "delivered",
        "status": 204,
        "detail": "",
        "started": "2026-01-01T00:00:00Z",
        "duration_ms": attempt["duration_ms"],
        "next_due": None,
        "dead_letter": None,
        "result_digest": result_digest(finished().value or b""),
    }


async def test_the_callback_is_exactly_what_the_contract_says(bench: Callable[..., Bench]) -> None:
    b = bench(Delivered(200))
    await b.agent.process(finished())
    ((url, body, headers),) = b.receiver.sent
    assert url == CALLBACK_URL
    assert json.loads(body) == {
        "results": [{"calc_0": 123.76}, {"calc_0": 2.0}],
        "errors": [{"calc_2": "division by zero"}],
        "task_id": "t-1",
    }
    assert headers == {"content-type": "application/json", "webhook-id": "t-1", "webhook-timestamp": "1767225600"}


async def test_a_receiver_that_is_gone_is_not_asked_again(bench: Callable[..., Bench]) -> None:
    b, result = bench(Refused()), finished()
    await b.agent.process(result)
    (letter,) = b.onward
    assert len(b.receiver.sent) == 1
    assert (letter.topic, letter.value) == ("callback.dead-letters", result.value)
    assert header(letter, "dead_letter_reason") == b"refused"
    assert header(letter, "dead_letter_error") == b"the receiver answered 410"


@pytest.mark.parametrize("failures", [1, 2, 3])
async def test_a_failed_callback_waits_in_the_tiers_of_the_schedule_and_is_the_same_each_time(
    bench: Callable[..., Bench], failures: int
) -> None:
    b = bench(*FAILURES[:failures], Delivered(200))
    path = await b.follow(finished())
    whole = [("5s", 5), ("30s", 35), ("5m", 335)][:failures]
    assert path == [(f"callback.retry.{tier}", timedelta(seconds=after)) for tier, after in whole]
    assert {(url, body, headers["webhook-id"]) for url, body, headers in b.receiver.sent} == {
        (CALLBACK_URL, b.receiver.sent[0][1], "t-1")
    }
    assert len({headers["webhook-timestamp"] for _, _, headers in b.receiver.sent}) == failures + 1
    assert [attempt["number"] for attempt in b.attempts] == list(range(1, failures + 2))
    assert [attempt["next_due"] is None for attempt in b.attempts] == [False] * failures + [True]


async def test_a_retry_waits_in_the_tier_of_its_delay_however_long_it_takes_to_be_written_there(
    bench: Callable[..., Bench],
) -> None:
    b = bench(Failed(500))
    b.step = timedelta(milliseconds=1)
    await b.agent.process(waiting(parked(finished(), "callback.retry.5s", Progress(1, 0, NOW, NOW, "")), NOW))
    assert [left.topic for left in b.onward] == ["callback.retry.30s"]


async def test_when_the_schedule_ends_the_result_is_a_dead_letter_with_the_last_outcome(
    bench: Callable[..., Bench],
) -> None:
    b, result = bench(*FAILURES), finished()
    await b.follow(result)
    letter = b.onward[-1]
    assert len(b.receiver.sent) == 4
    assert (letter.topic, letter.key, letter.value) == ("callback.dead-letters", b"t-1", result.value)
    assert header(letter, "dead_letter_reason") == b"exhausted"
    assert header(letter, "dead_letter_error") == b"the receiver answered 503"
    assert ("ce_id", b"t-1") in letter.headers


async def test_a_forbidden_address_is_a_dead_letter_at_once_that_does_not_name_it(bench: Callable[..., Bench]) -> None:
    b = bench(Forbidden("10.1.2.3"))
    await b.agent.process(finished())
    (letter,) = b.onward
    assert header(letter, "dead_letter_reason") == b"forbidden"
    assert b"10.1.2.3" not in (header(letter, "dead_letter_error") or b"")


async def test_what_a_receiver_asks_for_is_waited_to_the_second_through_several_tiers(
    bench: Callable[..., Bench],
) -> None:
    b = bench(Throttled(429, timedelta(seconds=100)), Delivered(200))
    path = await b.follow(finished())
    assert path[-1][1] == timedelta(seconds=100)
    assert {tier for tier, _ in path} <= {"callback.retry.5s", "callback.retry.30s"}
    assert [attempt["number"] for attempt in b.attempts] == [1, 2], "to go from tier to tier is no attempt"


@in_virtual_time
async def test_a_busy_receiver_is_waited_for_longer_after_some_time_and_nothing_is_charged(
    bench: Callable[..., Bench],
) -> None:
    b = bench(Delivered(200))
    never: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    async def hang() -> Outcome:
        return await never

    async def answer() -> Outcome:
        return Delivered(200)

    await b.receivers.ask("http://receiver.example:80", answer, size=1, fresh=True)
    held = [asyncio.ensure_future(b.receivers.ask("http://receiver.example:80", hang, size=1, fresh=True))]
    await asyncio.sleep(0)
    current, path = finished(), []
    for _ in range(5):
        await b.agent.process(current)
        path.append(b.onward[-1].topic)
        current = waiting(b.onward[-1], b.now)
        b.now = datetime.fromtimestamp(b.agent.wake(current), UTC)
    assert path == [f"callback.retry.{tier}" for tier in ("5s", "5s", "5s", "5s", "30s")]
    assert b.attempts == []
    never.set_result(Delivered(200))
    await asyncio.gather(*held)
    await b.agent.process(current)
    assert [(attempt["number"], attempt["outcome"]) for attempt in b.attempts] == [(1, "delivered")]


async def test_a_result_whose_receiver_is_never_free_is_given_up_in_the_end_with_what_was_last_heard(
    bench: Callable[..., Bench],
) -> None:
    b = bench(expiry="1h")
    waits = Progress(0, 9, NOW - timedelta(minutes=61), NOW, "the receiver failed 100 times in a row")
    await b.agent.process(waiting(parked(finished(), "callback.retry.5m", waits), NOW))
    (letter,) = b.onward
    assert b.receiver.sent == []
    assert header(letter, "dead_letter_reason") == b"expired"
    assert b"failed 100 times in a row" in (header(letter, "dead_letter_error") or b"")


@pytest.mark.parametrize(("seconds", "sent"), [(-1, 0), (4, 1), (20, 2), (60, 3)])
async def test_after_its_deadline_a_callback_is_not_attempted_any_more(
    bench: Callable[..., Bench], seconds: int, sent: int
) -> None:
    b = bench(*FAILURES)
    deadline = (NOW + timedelta(seconds=seconds)).isoformat().encode()
    await b.follow(finished(("callback_deadline", deadline)))
    assert len(b.receiver.sent) == sent
    assert header(b.onward[-1], "dead_letter_reason") == b"expired"


async def test_what_waits_in_a_tier_that_the_schedule_has_no_more_moves_to_one_that_it_has(
    bench: Callable[..., Bench],
) -> None:
    b = bench()
    progress = Progress(2, 0, NOW, NOW + timedelta(seconds=40), "the receiver answered 500")
    left = waiting(parked(finished(), "callback.retry.7m", progress), NOW)
    assert b.agent.wake(left) == 0.0
    await b.agent.process(left)
    (moved,) = b.onward
    assert moved.topic == "callback.retry.30s"
    assert header(moved, "callback_attempts") == b"2"
    assert b.receiver.sent == []


@pytest.mark.parametrize(
    "headers",
    [
        (("callback_due", b"soon"),),
        (("callback_due", None),),
        (("callback_deadline", b"tomorrow"),),
        (("callback_deadline", b"2026-01-01T00:00:00"),),
        (("callback_deadline", b"2026-01-01T00:00:00Z"), ("callback_deadline", b"2026-01-01T00:00:00Z")),
    ],
)
async def test_headers_that_cannot_be_read_are_our_own_dead_letter(
    bench: Callable[..., Bench], headers: tuple[tuple[str, bytes], ...]
) -> None:
    b = bench()
    result = finished(*headers)
    assert b.agent.wake(result) == 0.0
    await b.agent.process(result)
    assert b.onward[0].topic == "task.dead-letters"
    assert b.receiver.sent == []


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
    bench: Callable[..., Bench], value: bytes | None
) -> None:
    b = bench()
    await b.agent.process(record(value, topic="task.results"))
    assert b.receiver.sent == []
    (letter,) = b.onward
    assert (letter.topic, letter.value) == ("task.dead-letters", value)
    assert header(letter, "dead_letter_reason") == b"unreadable"


@pytest.mark.parametrize("headers", [(), (("callback_deadline", b"2020-01-01T00:00:00Z"),)])
async def test_a_result_without_a_callback_url_is_for_whoever_reads_the_topic_and_nothing_is_done(
    bench: Callable[..., Bench], headers: tuple[tuple[str, bytes], ...]
) -> None:
    b = bench()
    value = RESULT.model_copy(update={"callback_url": None}).model_dump_json().encode()
    await b.agent.process(record(value, topic="task.results", headers=headers))
    assert (b.receiver.sent, b.broker.taken) == ([], [])


def test_the_sources_are_the_results_and_a_tier_for_each_delay_of_the_schedule(bench: Callable[..., Bench]) -> None:
    assert bench(schedule="10h,5s,10h,1.5s").agent.sources == [
        "task.results",
        "callback.retry.1.5s",
        "callback.retry.5s",
        "callback.retry.10h",
    ]
