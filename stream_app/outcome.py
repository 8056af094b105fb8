"""What became of one attempt to deliver a callback."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Delivered:
    """The receiver answered 2xx."""

    status: int


@dataclass(frozen=True)
class Refused:
    """The receiver answered 410: it wants no more of this."""

    status: int = 410


@dataclass(frozen=True)
class Failed:
    """The receiver answered something else; a redirect counts too, none is followed."""

    status: int


@dataclass(frozen=True)
class Unreachable:
    """There was no answer: name, connection, TLS, a broken answer or the deadline."""

    error: str


Outcome = Delivered | Refused | Failed | Unreachable


def describe(outcome: Outcome) -> str:
    """Return the outcome as an operator reads it."""
    match outcome:
        case Delivered(status) | Refused(status) | Failed(status):
            return f"the receiver answered {status}"
        case Unreachable(error):
            return error
