"""Tells what is wrong with a value, however much it is."""

from pydantic import ValidationError
from pydantic_core import ErrorDetails

_TOLD = 100  # errors of which each may be built; 200,000 would take seconds and hundreds of megabytes


def first_errors(error: ValidationError, most: int) -> list[ErrorDetails]:
    """Return the first `most` errors, without their url; where there are very many, one that says how many."""
    count = error.error_count()
    if count > _TOLD:
        text = f"there are {count} errors, too many to be told one by one"
        return [ErrorDetails(type="too_many_errors", loc=(), msg=text, input={})][:most]
    return error.errors(include_url=False)[:most]
