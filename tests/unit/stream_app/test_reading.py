"""A record's value is a message, or there is a reason why not."""

import re
import tracemalloc
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, model_validator

from callstream.contract.dead_letters import Reason
from callstream.contract.messages import Item, TaskRequest
from callstream.tasks import load_tasks
from stream_app.reading import Address, UnreadableError, address_of, read
from tests.unit.records import CALLBACK_URL, record

LIMIT, ITEM_LIMIT = 200, 10
REQUEST = {"callback_url": CALLBACK_URL, "message": [{"name": "a"}]}


class Many(BaseModel):
    numbers: list[int]


def reason(value: Any, model: type[BaseModel] = TaskRequest[Item]) -> tuple[Reason, str]:
    with pytest.raises(UnreadableError) as error:
        read(record(value), model, LIMIT, ITEM_LIMIT)
    return error.value.reason, str(error.value)


def test_a_value_of_the_right_shape_is_the_message() -> None:
    assert read(record(REQUEST), TaskRequest[Item], LIMIT, ITEM_LIMIT).message[0].name == "a"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "no value"),
        (b"", "EOF"),
        (b"\xff\xfe", "value: Invalid JSON"),
        (b'{"callback_url": "\xff"}', "Invalid JSON"),
        (b"not json", "value: Invalid JSON"),
        (b"[" * LIMIT, "recursion limit|EOF"),
        (b'{"callback_url": "\\ud800"}', "Invalid JSON"),
        ([], "value: Input should be an object"),
        ({"callback_url": CALLBACK_URL}, "message: Field required"),
        (REQUEST | {"callback_url": "ftp://receiver.example/"}, "callback_url: .* http or https"),
        (REQUEST | {"message": {}}, "message: Input should be a valid array"),
        (REQUEST | {"message": [{}]}, r"message\.0\.name: Field required"),
    ],
)
def test_a_value_that_cannot_be_read_is_told_with_the_field(value: Any, text: str) -> None:
    told, detail = reason(value)
    assert told is Reason.UNREADABLE
    assert re.search(text, detail)


@pytest.mark.parametrize("over", [0, 1])
def test_a_value_may_have_as_many_bytes_as_the_limit(over: int) -> None:
    raw = b'{"callback_url": "%s", "message": []' % CALLBACK_URL.encode()
    value = raw.ljust(LIMIT - 1 + over) + b"}"
    if over:
        assert reason(value) == (Reason.TOO_LARGE, "the value has 201 bytes; 200 are allowed")
    else:
        assert read(record(value), TaskRequest[Item], LIMIT, ITEM_LIMIT).message == []


@pytest.mark.parametrize(("wrong", "shown", "more"), [(5, 5, ""), (6, 5, "and 1 more"), (30, 5, "and 25 more")])
def test_at_most_five_errors_are_named(wrong: int, shown: int, more: str) -> None:
    _, text = reason({"numbers": ["x"] * wrong}, Many)
    assert text.count("numbers.") == shown
    assert text.partition("; and ")[2] == more.removeprefix("and ")


def test_of_very_many_errors_the_number_is_told_and_none_is_kept() -> None:
    value = record({"numbers": ["x"] * 20_000})
    with pytest.raises(UnreadableError, match="value: there are 20000 errors") as error:
        read(value, Many, 2**20, ITEM_LIMIT)
    assert (error.value.__cause__, error.value.__context__) == (None, None)


def peak_without(fields: int) -> int:
    """Return the bytes that it takes at most to read a request whose item lacks so many of its fields."""
    item = dict(list({"name": "a", "num_1": 1, "num_2": 1, "operation": "+", "result_rounding": 1}.items())[fields:])
    value = record(REQUEST | {"message": [item | {"x": [[[]]] * 50_000}]})
    tracemalloc.start()
    try:
        with pytest.raises(UnreadableError, match="Field required"):
            read(value, load_tasks()["calculation"].request, 2**20, ITEM_LIMIT)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_an_item_that_lacks_all_its_fields_takes_no_more_memory_than_one_that_lacks_one() -> None:
    """Each error had the item built anew: a batch of such records ended the process."""
    assert peak_without(5) < 1.5 * peak_without(1)


class Fragile(TaskRequest[Item]):
    @model_validator(mode="after")
    def fail(self) -> NoReturn:
        raise FAILING[self.message[0].name]


FAILING: dict[str, BaseException] = {"bug": KeyError("num_3"), "exit": SystemExit(3)}


@pytest.mark.parametrize(("name", "text"), [("bug", "KeyError: 'num_3'"), ("exit", "SystemExit: 3")])
def test_whatever_a_validator_raises_is_its_records(name: str, text: str) -> None:
    assert reason(REQUEST | {"message": [{"name": name}]}, Fragile) == (Reason.UNREADABLE, f"value: {text}")


def test_an_address_is_found_beside_what_pydantic_alone_reads() -> None:
    value = b'{"callback_url": "%s", "x": NaN}' % CALLBACK_URL.encode()
    assert address_of(record(value), LIMIT) == Address(callback_url=CALLBACK_URL)
    assert address_of(record(value), len(value) - 1) is None


def test_nothing_is_built_of_a_value_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """16 MiB of a batch of 1.7 KB took 650 MB, and its process, each time that it was to be put aside."""
    monkeypatch.setattr(Address, "model_validate_json", lambda _: pytest.fail("built"))
    large = b'{"callback_url": "%s", "x": [%s]}' % (CALLBACK_URL.encode(), b"[0]," * LIMIT)
    assert address_of(record(large + b"NaN"), LIMIT) is None
    assert address_of(record(large.replace(b",]", b"]")), LIMIT) == Address(callback_url=CALLBACK_URL)


@given(st.binary(max_size=LIMIT))
def test_whatever_the_bytes_nothing_but_unreadable_is_raised(value: bytes) -> None:
    reason(value)
