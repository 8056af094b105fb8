"""What is wrong is told within bounds, however much it is."""

import pytest
from pydantic import TypeAdapter, ValidationError

from callstream.contract.validation import first_errors

numbers = TypeAdapter(list[int])


def wrong(count: int) -> ValidationError:
    with pytest.raises(ValidationError) as error:
        numbers.validate_python(["x"] * count)
    return error.value


@pytest.mark.parametrize(("count", "told"), [(1, 1), (3, 3), (4, 3), (100, 3)])
def test_the_first_errors_are_told(count: int, told: int) -> None:
    details = first_errors(wrong(count), 3)
    assert [(detail["type"], detail["loc"], detail["input"]) for detail in details] == [
        ("int_parsing", (number,), "x") for number in range(told)
    ]
    assert all("url" not in detail for detail in details)


def test_of_very_many_errors_none_is_built_and_their_number_is_told() -> None:
    (detail,) = first_errors(wrong(101), 3)
    assert (detail["type"], detail["loc"]) == ("too_many_errors", ())
    assert "101 errors" in detail["msg"]
