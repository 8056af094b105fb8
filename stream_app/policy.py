"""When a callback is tried again: pure, so that time and chance come in as arguments."""

from collections.abc import Sequence
from datetime import timedelta

from stream_app.outcome import Delivered, Outcome, Refused


def next_delay(outcome: Outcome, attempt: int, schedule: Sequence[timedelta]) -> timedelta | None:
    """Return how long to wait after `attempt` (1 for the first) ended in `outcome`; None: there is no other."""
    if isinstance(outcome, Delivered | Refused) or attempt > len(schedule):
        return None
    return schedule[attempt - 1]
