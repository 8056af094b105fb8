"""The kinds of attack. A new one is a function beside the others in `rest` or `records`, with `@attack` above it."""

import random
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from tests.attack.target import Target

Attack = Callable[[random.Random, Target], Awaitable[None]]


class Kind(NamedTuple):
    name: str
    run: Attack
    weight: int


KINDS: list[Kind] = []


def attack(door: str, weight: int = 4) -> Callable[[Attack], Attack]:
    """Register a kind; `door` says how it comes in, `weight` how often."""

    def register(run: Attack) -> Attack:
        KINDS.append(Kind(f"{door}.{run.__name__}", run, weight))
        return run

    return register


def chosen(seed: str, number: int) -> tuple[Kind, random.Random]:
    """Return the attack of this number and its generator: a function of the seed and the number alone."""
    chance = random.Random(f"{seed}/{number}")  # noqa: S311 - it is to be repeated
    kinds = sorted(KINDS)  # in whatever order they were imported
    (kind,) = chance.choices(kinds, [kind.weight for kind in kinds])
    return kind, chance
