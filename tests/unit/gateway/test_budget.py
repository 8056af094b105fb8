"""How clients share the bytes that a process may hold."""

from gateway.budget import SMALL, Budget

MOST = 800_000
LARGE = SMALL + 1


class Body:
    def __init__(self, budget: Budget, client: str) -> None:
        self._budget = budget
        self._client = client
        self.held = 0

    def grow(self, size: int) -> bool:
        """Return whether another part has room."""
        if not self._budget.reserve_for_body(self._client, size, LARGE, self):
            return False
        self.held += size
        self._budget.arrives(self._client, self)
        return True

    def arrive(self) -> None:
        self._budget.arrived(self._client, self)

    def give_up(self) -> None:
        self._budget.release(self._client, self.held)
        self.held = 0


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


def test_what_gives_up_is_the_last_that_arrives_from_who_holds_most() -> None:
    budget = Budget(MOST)
    heavy = [Body(budget, "heavy") for _ in range(3)]
    assert all(body.grow(180_000) for body in heavy)
    other = Body(budget, "other")
    assert other.grow(150_000)
    assert [body.held for body in heavy] == [180_000, 180_000, 0]
    for body in heavy:
        body.arrive()
    assert not Body(budget, "other").grow(300_000), "what has arrived is not given up"


def test_all_that_is_released_is_there_again() -> None:
    budget = Budget(MOST)
    for client in map(str, range(100)):
        budget.release(client, fill(budget, client))
    assert budget.held == 0
    assert fill(budget, "a") == 560_000
