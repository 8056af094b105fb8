"""Records reach the workload in far fewer turns of the event loop than there are records."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any

from faust.types import TP

from callstream.contract.records import Record
from stream_app.kafka_app import KafkaApp
from stream_app.kafka_consumer import IN_A_TURN, Consumer

HERE = TP("requests", 0)
MANY = 20 * IN_A_TURN


async def turns_of(work: Awaitable[object]) -> int:
    """Return how many turns of the event loop pass until it ends."""
    loop = asyncio.get_running_loop()
    turns = 0

    def count() -> None:
        nonlocal turns
        turns += 1
        ticking.append(loop.call_soon(count))

    ticking = [loop.call_soon(count)]
    await work
    ticking[-1].cancel()
    return turns


def message(offset: int, generation: int = 4) -> Any:
    return SimpleNamespace(
        topic=HERE.topic,
        partition=HERE.partition,
        offset=offset,
        key=None,
        value=b"",
        headers=[],
        timestamp=0.0,
        checksum=None,
        generation_id=generation,
    )


def consumer_of(poll: Callable[..., AsyncIterator[Any]], *, takes_at_once: bool) -> Any:
    consumer: Any = object.__new__(Consumer)
    consumer.app = SimpleNamespace(takes_at_once=takes_at_once, should_stop=False)
    consumer._stopped = consumer._crashed = asyncio.Event()
    consumer.loop = asyncio.get_running_loop()
    consumer.suspend_flow = asyncio.Event()
    consumer.getmany = poll
    return consumer


async def test_a_poll_is_handed_over_in_a_few_turns() -> None:
    fetcher = SimpleNamespace(should_stop=False)
    handed_over: list[int] = []

    async def poll(timeout: float) -> AsyncIterator[Any]:  # noqa: ARG001, ASYNC109 - Faust's
        for offset in range(MANY):
            yield HERE, message(offset)
        fetcher.should_stop = True

    async def callback(each: Any) -> None:
        handed_over.append(each.offset)

    consumer = consumer_of(poll, takes_at_once=True)
    consumer.callback = callback
    turns = await turns_of(consumer._drain_messages(fetcher))
    assert handed_over == list(range(MANY))
    assert MANY // IN_A_TURN <= turns < 2 * MANY // IN_A_TURN, "and others have their turns meanwhile"


async def test_what_the_agent_has_no_room_for_waits_no_longer_than_until_a_rebalance() -> None:
    fetcher = SimpleNamespace(should_stop=False)

    async def poll(timeout: float) -> AsyncIterator[Any]:  # noqa: ARG001, ASYNC109 - likewise
        yield HERE, message(0)
        fetcher.should_stop = True

    async def callback(_: Any) -> None:
        consumer.suspend_flow.set()
        await asyncio.Event().wait()

    consumer = consumer_of(poll, takes_at_once=False)
    consumer.callback = callback
    async with asyncio.timeout(10):
        await consumer._drain_messages(fetcher)


class Stream:
    """As Faust's: one event a turn of the loop."""

    def __init__(self, messages: list[Any]) -> None:
        self.queue: asyncio.Queue[Any] = asyncio.Queue()
        self.channel = SimpleNamespace(queue=self.queue)
        for each in messages:
            self.queue.put_nowait(SimpleNamespace(message=each))

    def noack(self) -> "Stream":
        return self

    async def events(self) -> AsyncIterator[Any]:
        while not self.queue.empty():
            await asyncio.sleep(0)
            yield self.queue.get_nowait()


async def test_a_rebalance_that_empties_the_queue_while_a_log_is_begun_anew_ends_nothing() -> None:
    stream = Stream([message(offset) for offset in range(3)])
    admitted: list[int] = []

    async def admit(each: Any) -> None:
        admitted.append(each.offset)
        while each.offset == 1 and not stream.queue.empty():
            stream.queue.get_nowait()  # as Faust clears it

    agents: list[Any] = []
    app: Any = SimpleNamespace(topic=lambda *_, **__: None, agent=lambda _, name: agents.append, _admit=admit)  # noqa: ARG005 - Faust's
    KafkaApp.read(app, ["requests"], workload=app, suspects=app)
    await agents[0](stream)
    assert admitted == [0, 1]


async def admitted(messages: list[Any]) -> tuple[list[int], int]:
    """Return the offsets that reach the workload, and in how many turns."""
    records: list[Record] = []
    agents: list[Any] = []
    app: Any = SimpleNamespace(
        topic=lambda *_, **__: None,
        agent=lambda _, name: agents.append,  # noqa: ARG005 - Faust's
        consumer_generation_id=4,
        flow_control=SimpleNamespace(is_active=lambda: True),
    )
    app._admit = lambda each: KafkaApp._admit(app, each)
    workload: Any = SimpleNamespace(admit=records.append)
    KafkaApp.read(app, ["requests"], workload, suspects=app)
    turns = await turns_of(agents[0](Stream(messages)))
    return [record.offset for record in records], turns


async def test_the_agent_admits_what_is_there_in_a_few_turns() -> None:
    offsets, turns = await admitted([message(offset) for offset in range(MANY)])
    assert offsets == list(range(MANY))
    assert MANY // IN_A_TURN <= turns < 2 * MANY // IN_A_TURN, "and others have their turns meanwhile"


async def test_what_was_polled_before_a_rebalance_is_not_admitted_after_it() -> None:
    offsets, _ = await admitted([message(0, 4), message(1, 3), message(2, 4)])
    assert offsets == [0, 2]
