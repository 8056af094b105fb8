"""Room in records and in bytes, shared by lanes of which none can take what another needs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callstream.sharing.room import Room, Size

LANES = ("calculation", "data", "plugin")
SMALL = 100  # bytes


def fill(room: Room, lane: str, size: int) -> int:
    """Begin records of `size` bytes until there is no room; return how many."""
    count = 0
    while room.has(lane):
        room.enter(lane, size)
        count += 1
    return count


@pytest.mark.parametrize(("size", "of_a_kind"), [(SMALL, "records"), (2**20, "bytes")])
def test_a_lane_that_takes_all_it_can_leaves_the_others_their_share(size: int, of_a_kind: str) -> None:
    room = Room(Size(600, 600 * 2**20 if of_a_kind == "records" else 600 * 2**10), lanes=3)
    greedy = fill(room, "data", size)
    assert greedy > 0
    assert all(fill(room, lane, SMALL) >= 100 for lane in LANES if lane != "data")


def test_one_lane_alone_has_all_of_the_room() -> None:
    assert fill(Room(Size(10, 2**20), lanes=1), "data", SMALL) == 10


@pytest.mark.parametrize("size", [2**20, 2**30])
def test_a_record_larger_than_all_of_the_room_has_its_turn_alone(size: int) -> None:
    room = Room(Size(10, 1_000), lanes=1)
    assert fill(room, "data", size) == 1
    room.leave("data", size)
    assert room.has("data")


@given(st.lists(st.tuples(st.sampled_from(LANES), st.integers(0, 400)), max_size=60), st.randoms(use_true_random=False))
def test_whatever_comes_and_goes_each_lane_has_its_share_and_the_bounds_hold(
    coming: list[tuple[str, int]], random: object
) -> None:
    limit = Size(12, 1_200)
    room, under_way = Room(limit, lanes=3), list[tuple[str, int]]()
    for lane, size in coming:
        held = [each for name, each in under_way if name == lane]
        own = Size(limit.records // 6, limit.size // 6)
        if len(held) < own.records and sum(held) < own.size:
            assert room.has(lane)
        if room.has(lane):
            room.enter(lane, size)
            under_way.append((lane, size))
        elif under_way:
            room.leave(*under_way.pop(random.randrange(len(under_way))))  # type: ignore[attr-defined]
        assert room.records == len(under_way) <= limit.records
        assert sum(size for _, size in under_way) <= limit.size + 400 * (len(LANES) + 1)
