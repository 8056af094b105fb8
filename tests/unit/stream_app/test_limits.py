"""What receivers may hold leaves the workload room for one more, of either lane."""

from hypothesis import given
from hypothesis import strategies as st

from callstream.runtime.settings import Settings
from callstream.sharing.room import Room, Size
from stream_app.callbacks_main import limits_of
from stream_app.receivers import LATE, NEWCOMERS


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


def test_the_largest_result_may_wait_for_a_place_at_its_receiver() -> None:
    settings = Settings()
    limits = limits_of(settings)
    assert settings.sizes.result <= min(limits.size // NEWCOMERS, limits.size // LATE)
