"""When a callback is tried again, and where it waits: pure, so that time and chance come in as arguments."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from stream_app.outcome import Delivered, Forbidden, Outcome, Refused, Throttled

_SPREAD = (
    0.2  # of a delay: how much later, and never earlier, it may be, so that what failed together does not return so
)
_SHORT_PAUSES = 4  # for a receiver that is only busy
_MOST_ROUNDS = 10  # in one tier
_WAIT_ROUNDS = 2
_LONGEST_PAUSE = timedelta(minutes=1)  # between two looks at a receiver that is away
_CROWDED_PAUSE = timedelta(minutes=5)  # the same where very many wait
_FRESH = timedelta(minutes=1)  # since it was first seen
# Who is to be tried later than that is not looked at in between: it would be written hundreds of times for one attempt.
_LONGEST_LOOKED = timedelta(hours=1)


@dataclass(frozen=True)
class Policy:
    """`schedule` has the delay after each failed attempt; Retry-After is honoured up to `retry_after_cap`."""

    schedule: Sequence[timedelta]
    retry_after_cap: timedelta

    @property
    def tiers(self) -> list[timedelta]:
        return sorted(set(self.schedule))

    @property
    def pauses(self) -> list[timedelta]:
        """How long to leave alone a receiver that is away, the first time and each further time."""
        return self._up_to(_LONGEST_PAUSE)

    def next_delay(self, outcome: Outcome, attempt: int, jitter: float) -> timedelta | None:
        """Return how long to wait after `attempt` (1 for the first) ended in `outcome`; None: there is no other.

        `jitter` is from 0 to 1.
        """
        if is_final(outcome) or attempt > len(self.schedule):
            return None
        delay = self.schedule[attempt - 1]
        if isinstance(outcome, Throttled) and outcome.retry_after is not None:
            delay = max(delay, min(outcome.retry_after, self.retry_after_cap))
        return spread(delay, jitter)

    def next_pause(self, waits: int, *, away: bool, rest: timedelta, crowded: bool, jitter: float) -> timedelta:
        """Return how long a result waits whose receiver is `away`, or else busy; it has waited `waits` times before.

        It is of no use to ask again for `rest`. Where it is `crowded`, others look often enough at the receiver.
        """
        if crowded:
            return spread(self._up_to(_CROWDED_PAUSE)[-1], jitter)
        if rest:
            return spread(rest, jitter)
        if not away:  # it works its queue off, and is worth asking often, but not for ever so many
            waits = min(waits // _SHORT_PAUSES, 1)
        return spread(self.pauses[min(waits, len(self.pauses) - 1)], jitter)

    def longest_looked(self) -> timedelta:
        """Return the longest time after which a result is due that looks meanwhile whether its receiver is back."""
        return spread(max(_LONGEST_LOOKED, self.tiers[0]), 1.0)

    def is_fresh(self, attempts: int, age: timedelta) -> bool:
        """Return whether a result, first seen `age` ago, is so new that it asks whether its receiver has come back."""
        return attempts == 0 and age <= _FRESH

    def looks_early(self, outcome: Outcome, delay: timedelta) -> bool:
        """Return whether one that is tried again after `delay` looks meanwhile whether its receiver, away, is back."""
        asked = isinstance(outcome, Throttled) and outcome.retry_after is not None
        return not asked and self.pauses[-1] * (1 + _SPREAD) < delay <= _LONGEST_LOOKED

    def tier_for(self, remaining: timedelta, rounds: int = _MOST_ROUNDS) -> timedelta:
        """Return the longest tier that is over when `remaining` is, or the next longer if it would take many `rounds`.

        A tier's records are read in the order of their arrival, so one that must wait longer than the others of its
        tier would hold them up: it comes out with them, and goes into a tier again for the rest.
        """
        tiers = self.tiers
        fitting = [tier for tier in tiers if tier <= remaining]
        if not fitting:
            return tiers[0]
        if len(fitting) < len(tiers) and remaining > rounds * fitting[-1]:
            return tiers[len(fitting)]
        return fitting[-1]

    def wait_tier(self, remaining: timedelta) -> timedelta:
        """Return the tier of one that waits for its receiver: some seconds matter less than to be written once more."""
        return self.tier_for(remaining, _WAIT_ROUNDS)

    def look_tier(self, remaining: timedelta, rest: timedelta) -> timedelta:
        """Return the tier of one that is due when `remaining` is over, and looks at its receiver after `rest`."""
        return self.wait_tier(min(remaining, rest or self.pauses[-1]))

    def wake(self, tier: timedelta, since: datetime, due: datetime) -> datetime:
        """Return when a result comes out of its tier: when it is due, unless that is later than the tier's others.

        It has been there `since` then.
        """
        last = since + self.longest_delay(tier)
        return due if due <= last + self.tiers[0] else last

    def longest_delay(self, tier: timedelta) -> timedelta:
        """Return the longest delay with its spread that is waited for in a tier."""
        return tier * (1 + _SPREAD)

    def _up_to(self, longest: timedelta) -> list[timedelta]:
        return [tier for tier in self.tiers if tier <= longest] or self.tiers[:1]


def is_final(outcome: Outcome) -> bool:
    """Return whether there is no use in another attempt."""
    return isinstance(outcome, Delivered | Refused | Forbidden)


def spread(delay: timedelta, jitter: float) -> timedelta:
    return delay * (1 + _SPREAD * jitter)
