"""What the client produces, and what it says when it cannot."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from aiokafka.errors import KafkaConnectionError, KafkaError, KafkaTimeoutError, MessageSizeTooLargeError

from callstream.client import Callstream, ClientError, InvalidError, OutcomeUnknownError, RefusedError
from callstream.client import kafka as door
from callstream.contract.ids import keyed_task_id
from tests.unit.records import CALLBACK_URL

ITEM = {"name": "sum", "num_1": 1.0, "num_2": 2.0, "operation": "+", "result_rounding": 0}


class Producer:
    """Takes every record, except for the failures that it was told; started anew it is another one."""

    def __init__(self) -> None:
        self.died = False
        self.starts = 0
        self.options: dict[str, Any] = {}
        self.sent: list[tuple[str, bytes, bytes, dict[str, bytes]]] = []
        self.failures: dict[str, KafkaError | None] = {}
        self.running = False
        self.silent = False

    def __call__(self, **options: Any) -> "Producer":
        self.options = options
        return self

    async def start(self) -> None:
        self.running = True
        self.starts += 1
        await asyncio.sleep(0)  # as one does that has to ask a broker
        self._fail("start")
        self.died = False

    async def stop(self) -> None:
        self.running = False

    async def end(self, within: float) -> None:
        assert within > 0
        await self.stop()

    async def send(
        self, topic: str, value: bytes, key: bytes, headers: list[tuple[str, bytes]]
    ) -> asyncio.Future[object]:
        self._fail("send")
        self.sent.append((topic, value, key, dict(headers)))
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        if error := self.failures.get("acknowledge"):
            future.set_exception(error)
        elif not self.silent:
            future.set_result(None)
        return future

    def _fail(self, step: str) -> None:
        if error := self.failures.get(step):
            raise error


@pytest.fixture
def producer(monkeypatch: pytest.MonkeyPatch) -> Producer:
    found = Producer()
    monkeypatch.setattr(door, "Producer", found)
    return found


async def refused() -> ClientError:
    async with Callstream.over_kafka("broker.example:9092") as client:
        with pytest.raises(ClientError) as error:
            await client.submit("calculation", message=[ITEM])
        return error.value


async def test_a_task_is_a_record_as_the_gateway_writes_it(producer: Producer) -> None:
    async with Callstream.over_kafka("broker.example:9092", prefix="my.", security_protocol="SSL") as client:
        task_id = await client.submit(
            "calculation",
            message=[ITEM],
            callback_url=CALLBACK_URL,
            callback_deadline=datetime(2026, 1, 1, tzinfo=UTC),
        )
    ((topic, value, key, headers),) = producer.sent
    assert (topic, key, headers["ce_id"]) == ("my.calculation.requests", task_id.encode(), task_id.encode())
    assert json.loads(value) == {"callback_url": CALLBACK_URL, "message": [ITEM]}
    assert headers["ce_type"] == b"callstream.calculation.requested"
    assert headers["callback_deadline"] == b"2026-01-01T00:00:00+00:00"
    assert UUID(task_id).version == 7


async def test_the_producer_is_idempotent_takes_options_and_ends_with_the_block(producer: Producer) -> None:
    async with Callstream.over_kafka("broker.example:9092", security_protocol="SSL"):
        assert producer.running
    assert not producer.running
    expected = {"bootstrap_servers": "broker.example:9092", "acks": "all", "enable_idempotence": True}
    assert producer.options.items() >= (expected | {"security_protocol": "SSL"}).items()


async def test_a_key_is_the_same_task_as_over_rest(producer: Producer) -> None:
    async with Callstream.over_kafka("broker.example:9092") as client:
        task_id = await client.submit("calculation", message=[], idempotency_key="a")
    assert task_id == keyed_task_id("/v1/calculation/basic", "a")
    assert producer.sent[0][3]["ce_id"] == task_id.encode()


@pytest.mark.parametrize("key", ["", "a b", "a\n", "é", "x" * 256])
async def test_a_key_that_the_gateway_would_not_take_is_invalid(producer: Producer, key: str) -> None:
    async with Callstream.over_kafka("broker.example:9092") as client:
        with pytest.raises(InvalidError, match=r"header\.idempotency-key"):
            await client.submit("calculation", message=[], idempotency_key=key)
    assert producer.sent == []


async def test_a_key_is_the_same_task_each_time_and_another_key_or_type_is_not(producer: Producer) -> None:
    async with Callstream.over_kafka("broker.example:9092") as client:
        one, again, other = [await client.submit("calculation", message=[], idempotency_key=key) for key in "aab"]
        foreign = await client.submit("foreign", message=[], idempotency_key="a")
    assert one == again
    assert len({one, other, foreign}) == 3
    assert len(producer.sent) == 4


@pytest.mark.parametrize(
    ("message", "callback_url", "where"),
    [
        ([ITEM | {"operation": "%"}], CALLBACK_URL, ("message", 0, "operation")),
        ([ITEM], "ftp://a.example", ("callback_url",)),
    ],
)
async def test_what_the_model_refuses_is_not_sent_and_told_as_over_rest(
    producer: Producer, message: list[dict[str, Any]], callback_url: str, where: tuple[str | int, ...]
) -> None:
    async with Callstream.over_kafka("broker.example:9092") as client:
        with pytest.raises(InvalidError) as error:
            await client.submit("calculation", message=message, callback_url=callback_url)
    assert [detail.loc for detail in error.value.details] == [("body", *where)]
    assert producer.sent == []


async def test_a_task_type_that_is_not_installed_is_sent_as_it_is(producer: Producer) -> None:
    async with Callstream.over_kafka("broker.example:9092") as client:
        await client.submit("foreign", message=[{"anything": 1}])
    ((topic, value, _, _),) = producer.sent
    assert (topic, json.loads(value)) == ("foreign.requests", {"message": [{"anything": 1}]})


@pytest.mark.parametrize(
    ("step", "failure", "kind"),
    [
        ("send", KafkaTimeoutError(), RefusedError),
        ("send", MessageSizeTooLargeError("too large"), InvalidError),
        ("acknowledge", KafkaTimeoutError(), OutcomeUnknownError),
        ("acknowledge", KafkaError("gone"), OutcomeUnknownError),
    ],
)
async def test_a_failure_says_whether_the_task_may_have_been_stored(
    producer: Producer, step: str, failure: KafkaError, kind: type[ClientError]
) -> None:
    producer.failures[step] = failure
    error = await refused()
    assert type(error) is kind
    if isinstance(error, OutcomeUnknownError):
        assert error.task_id == producer.sent[0][2].decode()


async def test_an_acknowledgement_that_does_not_come_is_an_unknown_outcome(
    producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "_DEADLINE", 0.01)
    producer.silent = True
    assert isinstance(await refused(), OutcomeUnknownError)


async def test_a_broker_that_is_away_refuses_and_leaves_nothing_open(producer: Producer) -> None:
    producer.failures["start"] = KafkaConnectionError("no")
    with pytest.raises(RefusedError, match=r"no broker at broker\.example:9092"):
        async with Callstream.over_kafka("broker.example:9092"):
            pass
    assert not producer.running


async def test_a_producer_that_died_is_renewed_once_however_many_find_it_dead(producer: Producer) -> None:
    async with Callstream.over_kafka("broker.example:9092") as client:
        producer.died = True
        await asyncio.gather(*(client.submit("calculation", message=[ITEM]) for _ in range(10)))
        await client.submit("calculation", message=[ITEM])
    assert (producer.starts, len(producer.sent), producer.running) == (2, 11, False)


async def test_a_producer_that_cannot_be_renewed_refuses_and_is_tried_again(producer: Producer) -> None:
    async with Callstream.over_kafka("broker.example:9092") as client:
        producer.died = True
        producer.failures["start"] = KafkaConnectionError("no")
        tries = (client.submit("calculation", message=[ITEM]) for _ in range(10))
        refusals = await asyncio.gather(*tries, return_exceptions=True)
        assert [type(refusal) for refusal in refusals] == [RefusedError] * 10
        assert producer.starts == 2
        producer.failures.clear()
        await client.submit("calculation", message=[ITEM])
    assert (producer.starts, len(producer.sent)) == (3, 1)


async def test_who_gives_up_does_not_take_the_renewal_from_the_others(producer: Producer) -> None:
    async with Callstream.over_kafka("broker.example:9092") as client:
        producer.died = True
        first, second = (asyncio.create_task(client.submit("calculation", message=[ITEM])) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        await second
    assert first.cancelled()
    assert (producer.starts, len(producer.sent)) == (2, 1)


async def test_outside_its_block_nothing_is_sent(producer: Producer) -> None:
    with pytest.raises(RuntimeError, match="async with"):
        await Callstream.over_kafka("broker.example:9092").submit("calculation", message=[])
    assert producer.options == {}
