"""What receivers may hold leaves the workload room for one more, of either lane."""

from hypothesis import given
from hypothesis import strategies as st

from callstream.runtime.settings import Settings
from callstream.runtime.ties import Kin, Tie
from callstream.sharing.room import Room, Size
from stream_app.callbacks_main import limits_of
from stream_app.receivers import LATE, NEWCOMERS
from stream_app.shares import Kind, Shares

MIB = 2**20


@given(st.integers(20, 5_000), st.integers(2**20, 2**30), st.data())
def test_whatever_receivers_hold_the_next_result_is_begun(records: int, size: int, data: st.DataObject) -> None:
    settings = Settings.model_validate({"callbacks": {"in_flight": records, "in_flight_bytes": size}})
    limits, room = limits_of(settings), Room(Size(records, size), lanes=2)
    held = data.draw(st.integers(0, limits.total))
    held_bytes = data.draw(st.integers(0, limits.size))
    new, new_bytes = data.draw(st.integers(0, held)), data.draw(st.integers(0, held_bytes))
    for lane, count, count_bytes in (("new", new, new_bytes), ("again", held - new, held_bytes - new_bytes)):
        for number in range(count):
            room.enter(lane, count_bytes if number == 0 else 0)
    assert room.has("new")
    assert room.has("again")


@given(st.integers(20, 5_000), st.integers(2**20, 2**30), st.floats(0, 1))
def test_whatever_waits_for_a_place_at_receivers_beside_that_the_next_result_is_begun(
    records: int, size: int, again: float
) -> None:
    settings = Settings.model_validate({"callbacks": {"in_flight": records, "in_flight_bytes": size}})
    limits, room = limits_of(settings), Room(Size(records, size), lanes=2)
    held = limits.total + 2 * (limits.total // NEWCOMERS) + limits.total // LATE
    held_bytes = limits.size + 2 * (limits.size // NEWCOMERS) + limits.size // LATE
    for number in range(held):
        room.enter("again" if number < again * held else "new", held_bytes // held)
    assert room.has("new")
    assert room.has("again")


@given(
    st.integers(16 * MIB, 256 * MIB),
    st.lists(st.tuples(st.sampled_from(Kind), st.floats(0, 1), st.sampled_from(Kind)), min_size=4, max_size=30),
    st.floats(0, 1),
)
def test_however_large_the_results_are_that_receivers_hold_the_next_one_is_begun(
    size: int, crowds: list[tuple[Kind, float, Kind]], again: float
) -> None:
    settings = Settings.model_validate({"callbacks": {"in_flight_bytes": size}})
    limits, room = limits_of(settings), Room(Size(settings.callbacks.in_flight, size), lanes=2)
    shares = Shares(limits.total, limits.size, limits.largest)
    held: list[int] = []
    for crowd, (kind, part, later) in enumerate(crowds):
        large = max(2**14, int(part * settings.sizes.tier))
        while (share := shares.claim(kind, (Tie(Kin.RECEIVER, f"{crowd}-{len(held)}"),), large)) is not None:
            shares.move(share, later)
            held.append(large)
    waiting = 2 * (limits.size // NEWCOMERS) + limits.size // LATE
    for number, large in enumerate((*held, waiting)):
        room.enter("again" if number < again * len(held) else "new", large)
    assert room.has("new")
    assert room.has("again")


def test_the_largest_result_may_wait_for_a_place_at_its_receiver() -> None:
    settings = Settings()
    limits = limits_of(settings)
    assert settings.sizes.result <= min(limits.size // NEWCOMERS, limits.size // LATE)
