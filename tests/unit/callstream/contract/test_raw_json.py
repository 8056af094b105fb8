"""What is passed on unseen is JSON that every reader of ours can read, by the rules of what we write ourselves."""

import contextlib
import gc
import json
import re
from typing import Any

import pydantic_core
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callstream.contract.raw_json import check_json, to_json, without_collection

FULL = b"1" * 320
texts = st.text() | st.sampled_from(["5e123", "1e999", "0" * 310, '\\"', "\\ud800"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=10,
)


def good(data: bytes) -> bool:
    try:
        check_json(data)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(
    "data",
    [
        b"1",
        b' {"a": [1, -2.5e3, null, true, "\xc3\xbc \\ud83d\\ude00"]}\n',
        b"1e-999",
        b'"1e999"',
        b'["a0e9999"]',
        b"1e0000000308",
        FULL,
        b"[" * 190 + b"]" * 190,
        b"1.7976931348623157e308",
        b"[" + b",".join([b"1e100"] * 1_000) + b"]",
        b"[" + b",".join([b"9" * 4_300] * 20) + b"]",
        b'{"1e999": [1e100, %be-9, "\\\\", "\\"1e999"]}' % (b"1" * 250),
    ],
)
def test_json_is_good(data: bytes) -> None:
    assert good(data)


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b" ", b"nul", b"{", b"[1,]", b"1 2", b'1,"b":2', b"1]}", b'{"a":1}{"b":2}', b"'a'", b"\xef\xbb\xbf1"),
        *(b"NaN", b"[Infinity]", b"-Infinity", b"1e999", b"[1E+400]", b'{"a":-1e0999}', FULL + b".5", b"9" * 5_000),
        *(b"1" * 250 + b"e99", b"9" * 299 + b".0e+99", FULL + b"e-1", b'{"a":"\\"","b":1e999}'),
        *(b'"\\ud800"', b'"\\udc00\\ud800"', b'"\xff"', b'"\x01"', b'"\xed\xa0\x80"', b'"\\x"'),
        *(b"[" * 200 + b"]" * 200, b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 300 + b"1" + b"}" * 300),
    ],
)
def test_what_no_reader_could_read_is_not(data: bytes) -> None:
    assert not good(data)


@given(values)
def test_whatever_json_has_is_written_and_read_back(value: Any) -> None:
    assert json.loads(to_json(value)) == value


@given(st.binary() | values.map(lambda value: json.dumps(value).encode()) | st.from_regex(rb"[0-9eE+.\-, \[\]]*"))
def test_the_verdict_is_that_of_building_the_value(data: bytes) -> None:
    built = False
    with contextlib.suppress(ValueError):
        json.dumps(pydantic_core.from_json(data, allow_inf_nan=False), allow_nan=False)
        built = not re.search(rb"(?i)nan|infinity", re.sub(rb'"[^"]*"', b"", data))
    assert good(data) == built


@pytest.mark.parametrize(
    "value", [float("nan"), [float("inf")], "\ud800", 10**5_000], ids=["nan", "inf", "half", "huge"]
)
def test_what_json_does_not_have_is_not_written(value: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - its text is the encoder's
        to_json(value)


def test_the_collector_goes_on_as_before() -> None:
    with without_collection():
        assert not gc.isenabled()
    assert gc.isenabled()
    gc.disable()
    try:
        with without_collection():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
