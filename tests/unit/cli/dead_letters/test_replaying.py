"""A letter that is replayed is noted, and one that is not is not."""

import asyncio

import pytest

from callstream.contract.records import OutgoingRecord
from cli.dead_letters.producing import TooLargeError
from cli.dead_letters.replaying import Replayer, Tally, unbroken
from cli.dead_letters.restoring import Skip
from tests.unit.cli.dead_letters.letters import TOPICS, dead_result, seen
from tests.unit.records import Broker

LETTER = dead_result()


class SlowBroker(Broker):
    """Takes records when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked_for_one = asyncio.Event()
        self.goes_on = asyncio.Event()

    async def produce(self, record: OutgoingRecord) -> None:
        self.asked_for_one.set()
        await self.goes_on.wait()
        await super().produce(record)


async def test_a_replay_is_noted_after_it_was_stored(broker: Broker) -> None:
    tally = Tally()
    await Replayer(broker, TOPICS, tally).replay(seen(LETTER), LETTER)
    assert [record.topic for record in broker.taken] == [TOPICS.results, TOPICS.attempts]
    assert tally == Tally(1)


@pytest.mark.parametrize("error", [TimeoutError(), OSError()])
async def test_a_replay_that_was_not_stored_is_not_noted(broker: Broker, error: Exception) -> None:
    broker.failures.append(error)
    tally = Tally()
    with pytest.raises(type(error)):
        await Replayer(broker, TOPICS, tally).replay(seen(LETTER), LETTER)
    assert (broker.taken, tally) == ([], Tally())


async def test_one_that_is_too_large_for_its_topic_is_named_and_does_not_stop_the_others(
    broker: Broker, capsys: pytest.CaptureFixture[str]
) -> None:
    broker.failures.append(TooLargeError())
    tally = Tally()
    replayer = Replayer(broker, TOPICS, tally)
    await replayer.replay(seen(LETTER), LETTER)
    await replayer.replay(seen(LETTER), LETTER)
    assert len(broker.taken) == 2
    assert (tally.replayed, tally.skipped) == (1, {Skip.TOO_LARGE: 1})
    assert capsys.readouterr().err == f"{seen(LETTER).place} is not replayed: too large for its topic\n"


def test_what_is_refused_is_named_up_to_a_number_of_each_kind(capsys: pytest.CaptureFixture[str]) -> None:
    tally = Tally()
    place = seen(LETTER).place
    tally.leave([(place, skip) for skip in (Skip.UNREAD, Skip.DELIVERED, Skip.EMPTY) for _ in range(100)])
    assert tally.skipped == {Skip.UNREAD: 100, Skip.DELIVERED: 100, Skip.EMPTY: 100}
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"{place} is not replayed: {skip}" for skip in (Skip.UNREAD, Skip.EMPTY) for _ in range(20)]


async def test_a_stop_does_not_come_between_a_replay_and_its_note() -> None:
    broker, tally = SlowBroker(), Tally()
    work = await begun(broker, tally)
    await cancelled_once(work)
    broker.goes_on.set()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert [record.topic for record in broker.taken] == [TOPICS.results, TOPICS.attempts]
    assert tally.replayed == 1


async def test_a_second_stop_does_not_wait_for_a_broker_that_is_silent() -> None:
    broker, tally = SlowBroker(), Tally()
    work = await begun(broker, tally)
    await cancelled_once(work)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(work, 5)
    assert (broker.taken, tally.replayed) == ([], 0)


async def begun(broker: SlowBroker, tally: Tally) -> asyncio.Task[None]:
    """Begin a replay, and return when the broker was asked to store it."""
    work = asyncio.create_task(unbroken(Replayer(broker, TOPICS, tally).replay(seen(LETTER), LETTER)))
    await broker.asked_for_one.wait()
    return work


async def cancelled_once(work: asyncio.Task[None]) -> None:
    """Cancel, and see that it has heard that and goes on."""
    work.cancel()
    await asyncio.wait([work], timeout=0.05)
    assert not work.done()
