"""A record is written in spite of a passing trouble; a dead letter always is."""

import pytest
import structlog

from callstream.contract.dead_letters import Reason
from callstream.contract.records import OutgoingRecord
from stream_app.output import Output, ProduceError, RecordTooLargeError
from tests.unit.records import Broker, header, record

RESULT = OutgoingRecord("task.results", b"t-1", b"{}", ())


async def test_a_record_that_the_broker_takes_is_written_once(broker: Broker, output: Output) -> None:
    await output.write(RESULT)
    assert (broker.taken, broker.asked) == ([RESULT], 1)


@pytest.mark.parametrize("failures", [1, 5])
async def test_a_record_is_written_in_spite_of_a_passing_trouble(broker: Broker, output: Output, failures: int) -> None:
    broker.failures.extend([ProduceError("no leader")] * failures)
    await output.write(RESULT)
    assert (broker.taken, broker.asked) == ([RESULT], failures + 1)


async def test_what_is_logged_of_a_retry_holds_nothing_of_the_record(broker: Broker, output: Output) -> None:
    broker.failures.extend([ProduceError("no leader")] * 3)
    with structlog.testing.capture_logs() as logs:
        await output.write(RESULT._replace(value=b'{"token": "secret"}'))
    assert logs
    assert "secret" not in str(logs)


async def test_a_broker_that_does_not_come_back_is_an_error(broker: Broker, output: Output) -> None:
    broker.failures.extend([ProduceError("no leader")] * 100)
    with pytest.raises(ProduceError):
        await output.write(RESULT)
    assert broker.taken == []
    assert 1 < broker.asked < 10


async def test_a_record_that_is_too_large_is_not_tried_again(broker: Broker, output: Output) -> None:
    broker.failures.append(RecordTooLargeError("too large"))
    with pytest.raises(RecordTooLargeError):
        await output.write(RESULT)
    assert broker.asked == 1


@pytest.mark.parametrize(
    ("failures", "value"),
    [
        ([], b"original"),
        ([ProduceError("no leader")], b"original"),
        ([RecordTooLargeError("too large")], None),
        ([ProduceError("no leader"), RecordTooLargeError("too large")], None),
    ],
)
async def test_a_dead_letter_is_written_without_its_value_only_if_it_is_too_large_with_it(
    broker: Broker, output: Output, failures: list[Exception], value: bytes | None
) -> None:
    broker.failures.extend(failures)
    await output.dead_letter(record(b"original", key=b"key"), "task.dead-letters", Reason.UNREADABLE, "not JSON")
    assert (broker.only.topic, broker.only.key, broker.only.value) == ("task.dead-letters", b"key", value)
    assert header(broker.only, "dead_letter_reason") == b"unreadable"
