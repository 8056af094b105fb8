"""A task type of its own package: the prime factors of numbers."""

from pydantic import Field

from callstream.tasks import Item, task

_EXAMPLE = ({"name": "first", "number": 360}, {"name": "second", "number": 1_000_003})


class FactorsItem(Item):
    """A number to take apart; a large prime takes longer than the deadline allows, and is an error then."""

    number: int = Field(ge=1, le=10**24)


@task("factors", path="/v1/numbers/factors", runs="process", example=_EXAMPLE)
def factors(item: FactorsItem) -> list[int]:
    """Find the prime factors of each number."""
    found, rest, divisor = [], item.number, 2
    while divisor * divisor <= rest:
        while rest % divisor == 0:
            found.append(divisor)
            rest //= divisor
        divisor += 1
    return [*found, rest] if rest > 1 else found
