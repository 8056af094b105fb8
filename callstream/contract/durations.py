"""Durations as people write them: `5s`, `1.5m`, `2h`."""

import re
from datetime import timedelta

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)?")


def duration(text: str) -> timedelta:
    """Read a duration; a number without a unit is in seconds.

    Raises:
        ValueError: it is none.
    """
    if not (found := _DURATION.fullmatch(text.strip())):
        raise ValueError("must be a duration such as 30s, 5m or 2h")
    try:
        return timedelta(seconds=float(found[1]) * _UNITS[found[2] or "s"])
    except OverflowError:
        raise ValueError("the duration is too long") from None


def duration_text(value: timedelta) -> str:
    """Write a duration as `duration` reads it, in the largest unit that leaves no long fraction."""
    seconds = value.total_seconds()
    for unit, size in (("h", 3600), ("m", 60)):
        if seconds >= size and (seconds * 10) % size == 0:
            return f"{seconds / size:.1f}".removesuffix(".0") + unit
    return f"{seconds:.6f}".rstrip("0").rstrip(".") + "s"
