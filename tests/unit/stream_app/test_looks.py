"""However many wait for receivers that are away, a bounded number of them, with bounded bytes, looks often."""

import pytest

from stream_app.looks import Looks

KIB, MIB = 2**10, 2**20


def looking(looks: Looks, receiver: str, count: int, size: int, now: float = 100.0) -> int:
    return sum(looks.may_look(receiver, size, now) for _ in range(count))


def test_one_for_whom_very_many_wait_leaves_looks_to_others() -> None:
    looks = Looks()
    assert looking(looks, "many", 100_000, KIB) == 2_000
    assert looking(looks, "other", 500, KIB) == 500


def test_one_for_whom_much_waits_leaves_looks_to_others() -> None:
    looks = Looks()
    assert looking(looks, "much", 1_000, 4 * MIB) <= 1
    assert looking(looks, "other", 500, KIB) == 500


def test_large_ones_leave_others_their_looks() -> None:
    looks = Looks()
    for number in range(40):
        looking(looks, f"large-{number}", 10, 3 * MIB)
        looking(looks, f"rather-large-{number}", 10, 50 * KIB)
    assert looking(looks, "other", 500, KIB) == 500
    assert looking(looks, "middling", 100, 15_000) == 100


@pytest.mark.parametrize("size", [5_000, 15_000, 16 * KIB])
def test_middling_ones_leave_small_ones_their_looks(size: int) -> None:
    looks = Looks()
    for number in range(2_000):
        looking(looks, f"middling-{number}", 10, size)
    assert looking(looks, "other", 500, 3 * KIB) == 500


def test_small_ones_are_so_small_that_their_bytes_take_nothing_from_one_another() -> None:
    looks = Looks()
    for number in range(512):
        looking(looks, f"largest-{number}", 10, 4 * KIB)
    assert looking(looks, "other", 500, KIB) == 500


def test_everyone_has_a_few_and_all_together_are_bounded() -> None:
    looks = Looks()
    found = [looking(looks, f"r{number}", 100, KIB) for number in range(1_000)]
    assert min(found) == 10
    assert sum(found) < 10_000 + 10 * 1_000


def test_after_half_a_minute_they_may_again() -> None:
    looks = Looks()
    looking(looks, "many", 100_000, KIB)
    assert looking(looks, "many", 1, KIB, now=120.0) == 0
    assert looking(looks, "many", 1, KIB, now=131.0) == 1


def test_where_few_look_one_may_look_again_at_once() -> None:
    looks = Looks()
    looking(looks, "few", 199, KIB)
    looking(looks, "many", 200, KIB)
    assert looks.seldom("few", 100.0)
    assert not looks.seldom("many", 100.0)
    assert looks.seldom("many", 131.0)
