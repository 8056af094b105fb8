"""How clients share the bytes that a process may hold."""

import pytest

from gateway.budget import SMALL, Budget

MOST = 800_000
LARGE = SMALL + 1
CHART = 17 * 2**20


class Request:
    """One that arrives."""

    def __init__(self, budget: Budget, client: str, whole: int = LARGE) -> None:
        self._budget = budget
        self._client = client
        self._whole = whole
        self.held = 0
        self.gave_up = False

    def grow(self, size: int) -> bool:
        """Return whether another part has room."""
        if not self._budget.reserve_arriving(self._client, size, self._whole, self):
            self._budget.arrived(self)
            self.give_up()
            return False
        self.held += size
        return True

    def arrive(self) -> None:
        self._budget.arrived(self)

    def give_up(self) -> None:
        self._budget.release(self._client, self.held)
        self.held = 0
        self.gave_up = True


def fill(budget: Budget, client: str, most: int = 10**6) -> int:
    """Reserve as much as there is for `client`, up to `most` bytes; return how much that was."""
    parts = 0
    while parts * 1_000 < most and budget.reserve(client, 1_000, LARGE):
        parts += 1
    return parts * 1_000


def test_one_client_has_most_of_the_room_and_another_finds_some_at_once() -> None:
    budget = Budget(MOST)
    assert fill(budget, "a") == 560_000, "four fifths of what is not for small bodies"
    assert fill(budget, "b") >= 110_000
    assert budget.reserve("b", 50_000, SMALL), "small ones have more"


def test_no_client_keeps_more_than_half_while_another_asks() -> None:
    budget = Budget(MOST)
    held = {"a": fill(budget, "a"), "b": 0}
    for _ in range(100):
        for client in "ba":
            budget.release(client, part := min(50_000, held[client]))
            held[client] += fill(budget, client, 200_000) - part
    assert max(held.values()) <= MOST / 2
    assert min(held.values()) >= MOST / 4
    assert budget.held == sum(held.values())


def test_what_gives_up_is_what_arrives_of_who_holds_most() -> None:
    budget = Budget(MOST)
    heavy = [Request(budget, "heavy") for _ in range(3)]
    assert all(request.grow(180_000) for request in heavy)
    other = Request(budget, "other")
    assert other.grow(150_000)
    assert [request.held for request in heavy] == [0, 180_000, 180_000]
    for request in heavy:
        request.arrive()
    assert not Request(budget, "other").grow(300_000), "what has arrived is not given up"


@pytest.mark.parametrize("clients", [1, 2, 5, 8, 16, 100, 600])
@pytest.mark.parametrize(("whole", "size"), [(30_000, 30_000), (LARGE, 60_000), (LARGE, 950_000)])
def test_what_is_held_back_makes_room_for_a_whole_request_and_its_record(clients: int, whole: int, size: int) -> None:
    """Heads and bodies, however many and of how many clients, also as they come again."""
    budget = Budget(CHART)

    def attack(count: int) -> None:
        for number in range(count):
            Request(budget, f"attacker {number % clients}", whole).grow(size)

    attack(2 * CHART // size)
    good = Request(budget, "good")
    for _ in range(16):
        assert good.grow(60_000)
        attack(CHART // size // 16)
    good.arrive()
    assert not good.gave_up
    assert budget.reserve("good", 960_000, 960_000)


@pytest.mark.parametrize("clients", [16, 100])
def test_what_comes_drop_by_drop_makes_room_as_well(clients: int) -> None:
    budget = Budget(CHART)
    dropping = [Request(budget, f"attacker {number % clients}") for number in range(400)]
    for request in dropping:
        request.grow(60_000)
    good = Request(budget, "good")
    for _ in range(16):
        assert good.grow(60_000)
        for request in dropping * 3:
            if not request.gave_up:
                request.grow(150)
    assert not good.gave_up


def test_who_shares_an_address_with_those_who_hold_back_finds_room_beside_them() -> None:
    budget = Budget(MOST)
    held_back = [Request(budget, "proxy", 30_000) for _ in range(100)]
    for request in held_back:
        request.grow(30_000)
    good = Request(budget, "proxy")
    assert all(good.grow(30_000) for _ in range(8))
    good.arrive()
    assert budget.reserve("proxy", 240_000, 240_000)
    assert budget.held > MOST / 2, "no more gave up than had to"


def test_who_holds_much_has_half_beside_many_who_hold_little() -> None:
    """Whoever is behind one proxy is not the first to go because of what they hold together."""
    budget = Budget(MOST)
    proxied = [Request(budget, "proxy") for _ in range(10)]
    for part in range(20):
        for number in range(10):
            Request(budget, f"{part} {number}", 10_000).grow(10_000)
        for request in proxied[: part + 1]:
            request.grow(2_000)
    assert not any(request.gave_up for request in proxied)
    assert sum(request.held for request in proxied) == 310_000


def test_who_floods_does_not_have_anothers_request_give_up() -> None:
    budget = Budget(MOST)
    slow = Request(budget, "other")
    assert slow.grow(50_000)
    for _ in range(100):
        request = Request(budget, "a")
        request.grow(50_000)
        request.arrive()
        budget.reserve("a", 50_000, LARGE)
    assert not slow.gave_up
    assert slow.grow(50_000)


def test_of_many_that_come_at_once_as_many_are_taken_as_there_is_room_for() -> None:
    budget = Budget(CHART)
    requests = [Request(budget, "a") for _ in range(20)]
    for _ in range(16):
        for request in requests:
            if not request.gave_up:
                request.grow(2**16)
    assert sum(not request.gave_up for request in requests) >= 11


def test_all_that_is_released_is_there_again() -> None:
    budget = Budget(MOST)
    for client in map(str, range(100)):
        budget.release(client, fill(budget, client))
    assert budget.held == 0
    assert fill(budget, "a") == 560_000


def test_nobody_gives_up_for_what_has_no_room_even_so() -> None:
    budget = Budget(MOST)
    assert fill(budget, "a") == 560_000
    arriving = Request(budget, "b")
    assert arriving.grow(60_000)
    assert not budget.reserve("c", 150_000, LARGE)
    assert not arriving.gave_up
