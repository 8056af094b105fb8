"""An attempt holds the room of the quick for a second; then it is a slow one, or cut short where those have no room."""

import asyncio
import gc

import pytest

from callstream.runtime.egress import AddressTakenError, dials_seen_by
from callstream.runtime.ties import ties_of
from stream_app.outcome import AnsweredError, Delivered, Outcome
from stream_app.patience import Patience
from stream_app.shares import Kind, Share, Shares
from tests.support.virtual_time import hold_up, in_virtual_time, now

OK = Delivered(200)


def claim(shares: Shares, kind: Kind, name: str = "receiver.example") -> Share | None:
    return shares.claim(kind, ties_of(f"http://{name}:80"), 1)


def full_of(*kinds: Kind) -> Shares:
    shares, number = Shares(100, 10_000), 0
    for kind in kinds:
        while claim(shares, kind, f"site-{number}.example") is not None:
            number += 1
    return shares


def full_of_slow_ones() -> Shares:
    return full_of(Kind.SLOW, Kind.SILENT)


def watching(shares: Shares, slow: float | None = 5.0) -> tuple[Patience, Share, list[float]]:
    share = claim(shares, Kind.QUICK)
    assert share is not None
    overdue: list[float] = []
    return Patience(shares, share, lambda: overdue.append(now()), quick=1.0, slow=slow), share, overdue


async def lasting(seconds: float) -> Outcome:
    await asyncio.sleep(seconds)
    return OK


@in_virtual_time
async def test_what_is_over_in_time_is_quick() -> None:
    patience, share, overdue = watching(full_of_slow_ones())
    assert await patience.run(lambda: lasting(0.9)) == OK
    assert (share.kind, overdue, patience.overdue) == (Kind.QUICK, [], False)


@in_virtual_time
async def test_what_takes_longer_is_slow_from_then_on() -> None:
    shares = Shares(100, 10_000)
    patience, share, overdue = watching(shares)
    began = now()
    assert await patience.run(lambda: lasting(4)) == OK
    assert (share.kind, len(overdue), patience.overdue) == (Kind.SLOW, 1, True)
    assert overdue[0] - began < 1.1
    assert shares.held(Kind.QUICK) == (0, 0)


async def answering(seconds: float) -> Outcome:
    """Be answered at once, and read the rest for so long."""
    try:
        return await lasting(seconds)
    except asyncio.CancelledError:
        raise AnsweredError(OK) from None


@in_virtual_time
async def test_what_was_answered_when_it_is_cut_short_has_its_outcome() -> None:
    patience, _, _ = watching(full_of_slow_ones())
    began = now()
    assert await patience.run(lambda: answering(5)) == OK
    assert now() - began < 1.1


@in_virtual_time
async def test_what_was_answered_when_it_is_cancelled_is_cancelled() -> None:
    """Its partition is another's, who makes the attempt again: two would go on with one result."""
    patience, _, _ = watching(Shares(100, 10_000))
    running = asyncio.create_task(patience.run(lambda: answering(5)))
    await asyncio.sleep(0.5)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


@in_virtual_time
async def test_where_the_slow_have_no_room_it_is_cut_short() -> None:
    patience, share, _ = watching(full_of_slow_ones())
    began = now()
    assert await patience.run(lambda: lasting(5)) is None
    assert (share.kind, patience.overdue) == (Kind.QUICK, True)
    assert now() - began < 1.1


@in_virtual_time
@pytest.mark.parametrize(
    ("slow", "full", "lasts", "kind"),
    [
        (5.0, [], 14, Kind.SILENT),
        (9.0, [], 8, Kind.SLOW),
        (5.0, [Kind.SLOW], 4, Kind.SILENT),
        (5.0, [Kind.SILENT], 4, Kind.SLOW),
        (None, [], 4, Kind.SILENT),
        (None, [Kind.SLOW], 4, Kind.SILENT),
    ],
)
async def test_what_takes_longer_still_or_may_never_come_counts_as_silent(
    slow: float | None, full: list[Kind], lasts: float, kind: Kind
) -> None:
    patience, share, overdue = watching(full_of(*full), slow)
    assert await patience.run(lambda: lasting(lasts)) == OK
    assert (share.kind, len(overdue)) == (kind, 1)


@in_virtual_time
@pytest.mark.parametrize(("slow", "ends"), [(None, 1), (5.0, 5), (9.0, 9)])
async def test_where_silent_ones_have_no_room_it_is_cut_short_as_soon_as_it_counts_as_one(
    slow: float | None, ends: float
) -> None:
    patience, *_ = watching(full_of(Kind.SILENT), slow)
    began = now()
    assert await patience.run(lambda: lasting(15)) is None
    assert ends - 0.1 < now() - began < ends + 0.1


@in_virtual_time
async def test_who_is_late_because_we_were_held_up_is_not_taken_for_slow() -> None:
    patience, _, overdue = watching(full_of_slow_ones())
    running = asyncio.ensure_future(patience.run(lambda: lasting(0.9)))
    await asyncio.sleep(0.1)
    hold_up(1.5)
    assert await running == OK
    assert overdue == []


@in_virtual_time
async def test_an_address_where_enough_is_under_way_is_not_dialled() -> None:
    shares = Shares(100, 10_000)
    held = []
    for number in range(100):
        share = claim(shares, Kind.NEW, f"site-{number}")
        if share is None:
            break
        patience = Patience(shares, share, lambda: None, quick=1.0, slow=None)
        try:
            patience.dials("192.0.2.7")
        except AddressTakenError:
            assert patience.turned_back
            shares.give_back(share)
        else:
            held.append(share)
    assert 0 < len(held) <= 30
    other = claim(shares, Kind.NEW, "other")
    assert other is not None
    Patience(shares, other, lambda: None, quick=1.0, slow=None).dials("192.0.2.8")
    with pytest.raises(AddressTakenError):
        Patience(shares, other, lambda: None, quick=1.0, slow=None).dials("192.0.2.7")


async def test_an_attempt_that_is_over_leaves_nothing_for_the_garbage_collector() -> None:
    async def attempt() -> None:
        patience, *_ = watching(Shares(100, 10_000))
        with dials_seen_by(patience.dials):
            assert await patience.run(lambda: lasting(0)) == OK

    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        await asyncio.create_task(attempt())
        gc.collect()
        assert [each for each in gc.garbage if isinstance(each, Patience)] == []
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
