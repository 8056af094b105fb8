"""Of a record's headers only what is valid goes on, and never much of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callstream.contract.headers import event_headers
from callstream.contract.propagation import TRACESTATE_LIMIT, passed_on
from callstream.contract.records import Headers, OutgoingRecord
from callstream.contract.retries import DEADLINE_HEADER
from callstream.contract.sizes import EVENT_HEADERS, size_of

PARENT = ("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
STATE = ("tracestate", b"congo=t61rcWkgMzE,rojo@v=00f067aa0ba902b7")
DEADLINE = (DEADLINE_HEADER, b"2026-02-01T00:00:00+00:00")


def test_trace_and_deadline_go_on_and_nothing_else_does() -> None:
    headers: Headers = (("ce_id", b"a"), PARENT, STATE, DEADLINE, ("authorization", b"secret"), ("Traceparent", b"x"))
    assert passed_on(headers) == (PARENT, STATE, DEADLINE)


@pytest.mark.parametrize(
    "parent",
    [
        b"",
        None,
        b"x" * 4 * 2**20,
        b"ff" + PARENT[1][2:],
        b"00-" + b"0" * 32 + b"-b7ad6b7169203331-01",
        b"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        PARENT[1].upper(),
        PARENT[1] + b"\n",
        PARENT[1] + b"-more",
    ],
)
def test_an_invalid_parent_ends_the_trace(parent: bytes | None) -> None:
    assert passed_on((("traceparent", parent), STATE)) == ()


def test_two_parents_are_none() -> None:
    assert passed_on((PARENT, PARENT, STATE)) == ()


@pytest.mark.parametrize(
    "state",
    [
        b"",
        None,
        b"a",
        b"a=",
        b"A=1",
        b"a=1,a=2",
        b"a=\xff",
        b"a=1\n",
        b"a=" + b"x" * 257,
        b"a=" + b"x" * 4 * 2**20,
        b",".join(b"k%d=1" % number for number in range(33)),
    ],
)
def test_a_state_that_is_invalid_or_long_is_dropped_and_the_trace_goes_on(state: bytes | None) -> None:
    assert passed_on((PARENT, ("tracestate", state))) == (PARENT,)


def test_a_state_in_several_headers_is_one() -> None:
    assert passed_on((PARENT, ("tracestate", b"a=1"), ("tracestate", b"b=2 , c=3"))) == (
        PARENT,
        ("tracestate", b"a=1,b=2 , c=3"),
    )


@pytest.mark.parametrize("deadline", [b"soon", None, b"2026-02-01T00:00:00." + b"0" * 100 + b"+00:00", b"2026-02-01"])
def test_a_deadline_that_cannot_be_read_does_not_go_on(deadline: bytes | None) -> None:
    assert passed_on(((DEADLINE_HEADER, deadline),)) == ()


names = st.sampled_from([PARENT[0], STATE[0], DEADLINE[0], "ce_id"])
values = st.sampled_from([PARENT[1], STATE[1], DEADLINE[1], b"a=" + b"x" * 256, b"x" * 4_096]) | st.binary() | st.none()


@given(st.lists(st.tuples(names, values), max_size=8), st.text("!~", min_size=128, max_size=128))
def test_what_goes_on_fits_into_the_room_for_headers(headers: list[tuple[str, bytes | None]], task_id: str) -> None:
    onward = passed_on(tuple(headers))
    assert len(dict(onward).get("tracestate") or b"") <= TRACESTATE_LIMIT
    longest = event_headers(task_id, f"{'t' * 100}.requested", "callbacks", onward)
    assert size_of(OutgoingRecord("task.results", task_id.encode(), None, longest)) <= EVENT_HEADERS
