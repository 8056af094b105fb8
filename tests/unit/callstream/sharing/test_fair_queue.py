"""Who waits, each client in its turn."""

from callstream.sharing.fair_queue import FairQueue


def test_who_asks_much_has_one_turn_and_then_the_others() -> None:
    queue = FairQueue[str]()
    for name in ("a1", "a2", "a3", "b1", "c1", "c2"):
        queue.put(name[0], name)
    taken = [queue.take() for _ in range(3)]
    queue.put("b", "b2")
    while queue:
        taken.append(queue.take())
    assert taken == ["a1", "b1", "c1", "a2", "c2", "b2", "a3"]


def test_what_is_let_go_of_leaves_no_trace() -> None:
    queue = FairQueue[str]()
    for name in ("a1", "a2", "b1"):
        queue.put(name[0], name)
    for name in ("a1", "b1", "b1", "c1"):
        queue.discard(name[0], name)
    assert list(queue) == ["a"]
    assert queue.take("a") == "a2"
    assert not queue
