"""What became of one attempt to deliver a callback."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True)
class Delivered:
    """The receiver answered 2xx."""

    status: int


@dataclass(frozen=True)
class Refused:
    """The receiver answered 410: it wants no more of this."""

    status: int = 410


@dataclass(frozen=True)
class Throttled:
    """The receiver, or what stands before it, is overloaded; it may have said for how long."""

    status: int
    retry_after: timedelta | None = None


@dataclass(frozen=True)
class Failed:
    """The receiver answered something else; a redirect counts too, none is followed."""

    status: int


@dataclass(frozen=True)
class Unreachable:
    """There was no answer: name, connection, TLS, a broken answer or the deadline."""

    error: str


@dataclass(frozen=True)
class Forbidden:
    """The URL leads to an address that must not be reached; `address` is for our log and not for the receiver."""

    address: str


Outcome = Delivered | Refused | Throttled | Failed | Unreachable | Forbidden


class AnsweredError(Exception):
    """The attempt was cancelled when its `outcome` was known, and only the rest of the answer was waited for."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__("answered")
        self.outcome = outcome


def name(outcome: Outcome) -> str:
    return type(outcome).__name__.lower()


def status_of(outcome: Outcome) -> int | None:
    return None if isinstance(outcome, Unreachable | Forbidden) else outcome.status


def describe(outcome: Outcome) -> str:
    """Return the outcome as an operator reads it."""
    match outcome:
        case Throttled(status, timedelta() as wait):
            return f"the receiver answered {status} and asked for {wait.total_seconds():g} s"
        case Delivered(status) | Refused(status) | Throttled(status) | Failed(status):
            return f"the receiver answered {status}"
        case Unreachable(error):
            return error
        case Forbidden(address):
            return f"the address {address} must not be reached"
