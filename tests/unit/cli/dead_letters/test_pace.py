"""No more than so many a second, shown on a clock of the test's own."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from cli.dead_letters.pace import Pace


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


@given(st.integers(1, 1_000), st.lists(st.floats(0, 3), min_size=1, max_size=50))
async def test_two_turns_are_never_nearer_than_the_rate_allows(rate: int, work: list[float]) -> None:
    clock = Clock()
    pace = Pace(rate, clock, clock.sleep)
    turns = []
    for seconds in work:
        await pace.turn()
        turns.append(clock.now)
        clock.now += seconds
    assert all(later - earlier >= 1 / rate - 1e-9 for earlier, later in pairwise(turns))


async def test_the_first_turn_comes_at_once_and_no_time_is_lost_on_quick_work() -> None:
    clock = Clock()
    pace = Pace(50, clock, clock.sleep)
    for _ in range(51):
        await pace.turn()
        clock.now += 0.001
    assert abs(clock.now - 1_001.001) < 1e-6
