"""Adds, subtracts, multiplies and divides pairs of numbers."""

import math
import operator
from typing import Literal

from pydantic import FiniteFloat

from callstream.contract.messages import Item
from callstream.tasks.registry import TaskError, task

_OPERATIONS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}
_EXAMPLE = (
    {"name": "calc_0", "num_1": 123, "num_2": 0.75647, "operation": "+", "result_rounding": 2},
    {"name": "calc_1", "num_1": 785687256, "num_2": 0.75647, "operation": "-", "result_rounding": 4},
)


class CalculationItem(Item):
    """`result_rounding` is Python's `round`: digits right of the point, left of it when negative."""

    num_1: FiniteFloat
    num_2: FiniteFloat
    operation: Literal["+", "-", "*", "/"]
    result_rounding: int


@task("calculation", path="/v1/calculation/basic", runs="inline", example=_EXAMPLE)
def calculate(item: CalculationItem) -> float:
    """Calculate each pair of numbers."""
    try:
        value = _OPERATIONS[item.operation](item.num_1, item.num_2)
    except ZeroDivisionError:
        raise TaskError("division by zero") from None
    if not math.isfinite(value):
        raise TaskError("the result is too large for a number")
    try:
        rounded = round(value, item.result_rounding)
    except OverflowError:
        raise TaskError("the result cannot be rounded to result_rounding digits") from None
    return float(rounded)
