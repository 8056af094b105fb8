"""Nothing unfinished is ever passed, everything finished is in the end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.window import Window


@st.composite
def finishing_orders(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """Draw offsets with gaps, as compaction and transactions leave them, and an order in which they finish."""
    gaps = draw(st.lists(st.integers(1, 5), min_size=1, max_size=40))
    start = draw(st.integers(0, 2**40))
    offsets = [start + sum(gaps[:index]) for index in range(len(gaps))]
    return offsets, draw(st.permutations(offsets))


@given(finishing_orders())
def test_the_position_never_passes_an_unfinished_record(case: tuple[list[int], list[int]]) -> None:
    offsets, order = case
    window = Window(span=len(offsets))
    slots = {offset: window.begin(offset) for offset in offsets}
    unfinished = set(offsets)
    for offset in order:
        window.finish(slots[offset])
        unfinished.remove(offset)
        assert window.position == (min(unfinished) if unfinished else offsets[-1] + 1)


def test_a_window_without_records_has_no_position() -> None:
    assert Window(span=1).position is None


def test_a_window_is_full_while_its_head_is_unfinished() -> None:
    window = Window(span=2)
    head, second = window.begin(7), window.begin(8)
    window.finish(second)
    assert window.full
    window.finish(head)
    assert not window.full
    assert window.position == 9


def test_an_offset_is_begun_once() -> None:
    window = Window(span=2)
    window.begin(7)
    with pytest.raises(ValueError, match="begun before"):
        window.begin(7)
