"""Tells what is wrong with a value, however much it is."""

from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

_TOLD = 100  # errors of which each may be built; 200,000 would take seconds and hundreds of megabytes


def first_errors(error: ValidationError, most: int) -> list[ErrorDetails]:
    """Return the first `most` errors, without their url; where there are very many, one that says how many."""
    count = error.error_count()
    if count > _TOLD:
        text = f"there are {count} errors, too many to be told one by one"
        return [ErrorDetails(type="too_many_errors", loc=(), msg=text, input={})][:most]
    return error.errors(include_url=False)[:most]


def request_error(kind: str | PydanticCustomError, *at: str, **context: Any) -> ValidationError:  # noqa: ANN401 - pydantic's
    """Return the error of a request in which this is wrong, as one of its model, without the value."""
    problem = InitErrorDetails(type=kind, loc=at, input={}, ctx=context)
    return ValidationError.from_exception_data("TaskRequest", [problem], "json")
