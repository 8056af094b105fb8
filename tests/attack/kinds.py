"""The kinds of attack. A new one is a function beside the others in `rest` or `records`, with `@attack` above it."""

import random
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from tests.attack.target import Target

HUNDRED = 100
_RUSHES = 0.2  # of the hundreds

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
    """Return the attack of this number and its generator: a function of the seed and the number alone.

    A hundred is a mixture, or a rush of one kind.
    """
    kinds = sorted(KINDS)  # in whatever order they were imported
    hundred = _generator(seed, "hundred", number // HUNDRED)
    rush = hundred.choice(kinds) if hundred.random() < _RUSHES else None
    chance = _generator(seed, "attack", number)
    (kind,) = chance.choices(kinds, [kind.weight for kind in kinds])
    return rush or kind, chance


def _generator(seed: str, *parts: object) -> random.Random:
    return random.Random("/".join(map(str, (seed, *parts))))  # noqa: S311 - it is to be repeated
