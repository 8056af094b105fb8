"""A request's items are counted, and kept, as the JSON that came."""

import json
import sys
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ConfigDict, ValidationError

from callstream.contract.items import PackedItems, check_density, check_item_count
from callstream.contract.messages import Item, TaskRequest

TINY = b'{"name":""}'


class Number(Item):
    number: float = 0


class Ambiguous(Item):
    """Reads otherwise where each value comes as JSON than where it comes as Python's."""

    model_config = ConfigDict(strict=True)
    when: date | str
    much: Decimal | str
    both: list[int] | tuple[int, ...]


def request(*items: bytes, before: bytes = b"", behind: bytes = b"") -> bytes:
    return b'{%b"message": [%b]%b}' % (before, b" ,\n".join(items), behind)


def packed(*items: bytes) -> PackedItems[Number]:
    return PackedItems(TaskRequest[Number], request(*items))


@given(st.lists(st.builds(Number, name=st.text(), number=st.floats()), max_size=20))
def test_what_is_packed_is_what_the_request_has(items: list[Number]) -> None:
    body = json.dumps({"message": [item.model_dump() for item in items]}).encode()
    read = TaskRequest[Number].model_validate_json(body).message
    kept = PackedItems(TaskRequest[Number], body)
    assert list(map(repr, kept)) == list(map(repr, read)) == [repr(kept[at]) for at in range(len(kept))]  # as of NaN
    assert repr(kept[::2]) == repr(read[::2])


def test_what_is_packed_has_the_types_that_the_request_has() -> None:
    body = request(b'{"name":"a","when":"2024-01-01","much":"1.5","both":[1]}')
    assert list(PackedItems(TaskRequest[Ambiguous], body)) == TaskRequest[Ambiguous].model_validate_json(body).message


def test_an_item_that_is_not_there_is_an_index_error() -> None:
    assert packed(b'{"name":"a"}', b'{"name":"b"}')[-1].name == "b"
    with pytest.raises(IndexError):
        packed(TINY)[1]


def test_packed_items_take_about_as_much_as_their_json() -> None:
    kept = packed(*[TINY] * 1_000)
    assert sys.getsizeof(kept._data) + sys.getsizeof(kept._ends) < 1_000 * (len(TINY) + 10)


@pytest.mark.parametrize(
    ("before", "behind"),
    [(b"", b""), (b'"x": NaN, ', b""), (b"", b', "x": [-Infinity]'), (b'"message": [], ', b', "x": NaN')],
)
def test_more_items_than_the_limit_are_refused_whatever_stands_beside_them(before: bytes, behind: bytes) -> None:
    body = request(*[TINY] * 4, before=before, behind=behind)
    check_item_count(body, 4)
    with pytest.raises(ValidationError, match="at most 3 items after validation, not 4"):
        check_item_count(body, 3)


@pytest.mark.parametrize(
    "body", [b"", b"[NaN]", b"NaN", b'{"message": NaN}', b'{"x": NaN}', b"{", b"\xff", b"[" * 9_999]
)
def test_what_is_no_request_is_not_counted(body: bytes) -> None:
    check_item_count(body, 0)


@pytest.mark.parametrize("text", [b"[" * 9_000, b'\\"[[{' * 9_000, b"[\\\\"])
def test_what_stands_in_texts_opens_no_array(text: bytes) -> None:
    check_density(request(b'{"name":"%b"}' % text))


@pytest.mark.parametrize("rest", [b"", b'"', b'"' + b'\\"' * 400_000, b'"' * 400_001, b'"\\'])
def test_arrays_are_counted_whatever_stands_behind_them(rest: bytes) -> None:
    body = b"[" * 900_000 + rest
    with pytest.raises(ValidationError, match=r"at most .* arrays and objects, a third of its bytes, and not 900000"):
        check_density(body)
