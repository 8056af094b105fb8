"""What a calculation gives: a finite number, or an error that the receiver can read."""

import contextlib
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from callstream.tasks import TaskError
from callstream.tasks.calculation import CalculationItem, calculate


def item(num_1: Any, operation: Any, num_2: Any, result_rounding: Any = 2) -> CalculationItem:
    return CalculationItem(name="calc", num_1=num_1, num_2=num_2, operation=operation, result_rounding=result_rounding)


@pytest.mark.parametrize(
    ("given_item", "value"),
    [
        (item(123, "+", 0.75647, 2), 123.76),
        (item(785687256, "-", 0.75647, 4), 785687255.2435),
        (item(1.5, "*", -3), -4.5),
        (item(1, "/", 3), 0.33),
        (item(0, "/", 3), 0.0),
        (item(1234.5, "+", 0, 0), 1234.0),
        (item(1250, "+", 1, -2), 1300.0),
        (item(1250, "+", 1, -4), 0.0),
        (item(2.5, "+", 0, 10**9), 2.5),
        (item(2.5, "+", 0, 10**30), 2.5),
        (item(2.5, "+", 0, 10**400), 2.5),
        (item(2.5, "+", 0, -(10**9)), 0.0),
        (item(2.5, "+", 0, -(10**30)), 0.0),
    ],
)
def test_a_pair_of_numbers_gives_its_rounded_value(given_item: CalculationItem, value: float) -> None:
    assert calculate.handler(given_item) == value


@pytest.mark.parametrize(
    ("given_item", "text"),
    [
        (item(1, "/", 0), "division by zero"),
        (item(0, "/", -0.0), "division by zero"),
        (item(1.7e308, "+", 1.7e308), "too large for a number"),
        (item(-1.7e308, "-", 1.7e308), "too large for a number"),
        (item(1e308, "*", 10), "too large for a number"),
        (item(1e308, "/", 5e-324), "too large for a number"),
        (item(1.7e308, "+", 0, -308), "cannot be rounded"),
    ],
)
def test_what_has_no_value_is_a_readable_error(given_item: CalculationItem, text: str) -> None:
    with pytest.raises(TaskError, match=text):
        calculate.handler(given_item)


@pytest.mark.parametrize(
    ("field", "raw"),
    [
        *((field, raw) for field in ("num_1", "num_2") for raw in ("NaN", "Infinity", "-Infinity", "1e999")),
        ("num_1", "1" * 401),
        ("num_1", "1" * 5_000),
        ("num_1", "null"),
        ("num_1", "[]"),
        ("operation", '"%"'),
        ("operation", '"**"'),
        ("result_rounding", "1" * 5_000),
        ("result_rounding", "1.5"),
        ("result_rounding", "1e999"),
        ("result_rounding", "NaN"),
    ],
)
def test_input_that_is_no_finite_number_is_refused(field: str, raw: str) -> None:
    values = {"name": '"calc"', "num_1": "1", "num_2": "2", "operation": '"+"', "result_rounding": "2", field: raw}
    with pytest.raises(ValidationError):
        CalculationItem.model_validate_json("{" + ",".join(f'"{key}":{value}' for key, value in values.items()) + "}")


numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**308), 10**308)


@given(numbers, st.sampled_from("+-*/"), numbers, st.integers(-400, 400) | st.integers())
def test_every_valid_item_gives_a_finite_float_or_an_error(
    num_1: float, operation: str, num_2: float, result_rounding: int
) -> None:
    with contextlib.suppress(TaskError):
        value = calculate.handler(item(num_1, operation, num_2, result_rounding))
        assert isinstance(value, float)
        assert math.isfinite(value)
