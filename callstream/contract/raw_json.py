"""JSON that is passed on as it came: checked, and never built in Python, where a megabyte can become thirty.

The rules are those of everything that we write: valid UTF-8 without lone surrogates, no NaN, no number beyond a float's
or an integer's limits, and no deeper nested than a reader of a TaskResult can follow.
"""

import gc
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import msgspec
import pydantic_core
from pydantic_core import SchemaValidator, core_schema

_encode = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode
# Reads the whole of an object, by the parser that reads every record, and keeps nothing of it.
_reader = SchemaValidator(core_schema.typed_dict_schema({}, extra_behavior="ignore"))
_AS_DEEP = (b'{"":[{"":', b"}]}")  # as it stands in a TaskResult
_DIGITS = bytes.maketrans(b"123456789", b"000000000")
# With each digit as a 0: so many digits, and such exponents, that no float may hold it.
_SUSPECT = (b"0" * 200, b"0e000", b"0e+000", b"0E000", b"0E+000")
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)  # to the end where it has none: else each quote would be tried
# The numbers of which that can be: by their exponent, or by their digits and not an integer.
_SUSPECTS = re.compile(
    rb"(?<![0-9.])(?:[0-9]++(?:\.[0-9]++)?[eE]\+?[0-9]{3,}+"
    rb"|[0-9]{200,}+(?:\.[0-9]++(?:[eE][+-]?[0-9]++)?|[eE][+-]?[0-9]++))"
)
_floats = msgspec.json.Decoder(list[float])


class RawJson(NamedTuple):
    """A value as JSON, in UTF-8."""

    data: bytes


@contextmanager
def without_collection() -> Iterator[None]:
    """Build many values without a look at each of them, again and again, for cycles that JSON does not have.

    A megabyte of `[[],[],...]` takes 0.02 s so, and 0.18 s otherwise.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def without_strings(data: bytes) -> bytes:
    """Return JSON, or what was to be it, without its texts."""
    return _STRING.sub(b"", data)


def check_json(data: bytes) -> None:
    """Return if `data` is one JSON value that can be passed on.

    Raises:
        ValueError: it is not; the text says why.
    """
    try:
        msgspec.json.decode(data, type=msgspec.Raw)  # one value, and no NaN
        _reader.validate_json(data.join(_AS_DEEP))
        _check_numbers(data)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(str(error)) from None
    except pydantic_core.ValidationError as error:
        raise ValueError(error.errors(include_url=False, include_input=False)[0]["msg"]) from None


def _check_numbers(data: bytes) -> None:
    """Read the numbers that look as if no float could hold them, and nothing else."""
    digits = data.translate(_DIGITS)
    if any(mark in digits for mark in _SUSPECT):
        found = b",".join(_SUSPECTS.findall(without_strings(data)))
        try:
            _floats.decode(b"[%b]" % found)
        except msgspec.ValidationError:
            raise ValueError("there is a number that no float can hold") from None


def encode_json(value: object) -> bytes:
    """Return what was read from JSON as JSON.

    Raises:
        ValueError: it holds NaN or infinity, which pydantic reads.
    """
    return _encode(value).encode()


def to_json(value: object) -> bytes:
    """Return `value`, of JSON's own types, as JSON.

    Raises:
        ValueError: JSON does not have it.
    """
    try:
        data = encode_json(value)
    except RecursionError as error:
        raise ValueError(str(error)) from None
    check_json(data)
    return data
