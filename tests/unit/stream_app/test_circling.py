"""Whatever headers somebody has written, a result ends, and is written a bounded number of times until then."""

from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from callstream.contract.messages import TaskResult, Times
from callstream.contract.records import Record
from callstream.contract.retries import Progress, parked
from callstream.runtime.settings import Settings
from stream_app.callback_agent import CallbackAgent
from stream_app.output import Output
from stream_app.receivers import Busy, Receivers
from tests.unit.records import CALLBACK_URL, Broker, header, record

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FAR = datetime(2999, 1, 1, tzinfo=UTC)
EXPIRY = timedelta(hours=2)
# At a receiver that is away a result of ours looks every 30 s for an hour, and every 30 s while it waits for that.
MOST = EXPIRY / timedelta(seconds=30) + 10
RESULT = TaskResult(
    task_id="t-1",
    task="calculation",
    callback_url=CALLBACK_URL,
    results=[],
    errors=[],
    times=Times(received=NOW, started=NOW, finished=NOW),
)
times = st.datetimes(datetime(1970, 1, 2), datetime(2999, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - it has one


class Away:
    """Stands for the receivers of a process, of which none is there, and where everyone may look."""

    async def ask(self, *_: object, **__: object) -> Busy:
        return Busy("it is away", rest=timedelta(seconds=30), away=True)

    def is_away(self, _: str) -> bool:
        return True

    def worth_asking(self, _: str) -> bool:
        return False

    def rest(self, _: str) -> timedelta:
        return timedelta(seconds=30)

    def may_look(self, *_: object) -> bool:
        return True


async def ended(first: Record) -> tuple[bytes | None, int]:
    """Return why the result is a dead letter in the end, and how often it was parked before."""
    now, parks = NOW, 0
    broker, nothing = Broker(), cast("Any", None)  # nobody is called
    settings = Settings.model_validate({"callbacks": {"expiry": EXPIRY}})
    away = cast("Receivers", Away())
    output = Output(broker, 2**20)
    agent = CallbackAgent(settings, nothing, nothing, away, output, clock=lambda: now, chance=lambda: 0.0)
    current = first
    while parks <= MOST:
        await agent.process(current)
        left = broker.only
        broker.taken.clear()
        if not left.topic.startswith("callback.retry."):
            return header(left, "dead_letter_reason"), parks
        parks += 1
        current = record(left.value, topic=left.topic, headers=left.headers, timestamp=now.timestamp())
        now = max(now, datetime.fromtimestamp(agent.wake(current), UTC))
    pytest.fail(f"it was parked {parks} times, until {now}")


@given(
    st.builds(Progress, st.integers(0, 12), st.integers(0, 3), times, times, st.just("x"), st.none() | times),
    st.none() | times,
    st.floats(0, 4e11),
)
@example(Progress(1, 1, NOW, FAR, "x"), NOW - timedelta(seconds=1), NOW.timestamp())
@example(Progress(1, 1, FAR, FAR, "x"), None, NOW.timestamp())
@example(Progress(1, 0, FAR, FAR, "x"), FAR, NOW.timestamp())
async def test_a_result_ends_whatever_its_headers_say(
    progress: Progress, deadline: datetime | None, written: float
) -> None:
    headers = () if deadline is None else (("callback_deadline", deadline.isoformat().encode()),)
    left = parked(record(RESULT.model_dump_json().encode(), headers=headers), "callback.retry.30s", progress)
    reason, _ = await ended(record(left.value, topic=left.topic, headers=left.headers, timestamp=written))
    assert reason == b"expired"
