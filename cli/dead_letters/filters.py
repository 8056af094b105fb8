"""Which dead letters are meant."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from callstream.contract.dead_letters import Reason
from callstream.contract.durations import duration
from callstream.contract.receivers import receiver_of
from callstream.contract.topics import Topics
from cli.dead_letters.letters import Letter
from cli.errors import CommandError

_TOPICS = ("tasks", "callbacks")


@dataclass(frozen=True)
class Asked:
    """The options as they were given."""

    reason: str | None = None
    receiver: str | None = None
    task: str | None = None
    since: str | None = None
    until: str | None = None
    topic: str | None = None


@dataclass(frozen=True)
class Filters:
    """Every part that is not None must fit; `since` is the first moment that does, `until` the first that does not."""

    reason: str | None = None
    receiver: str | None = None
    task: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    topic: str | None = None

    @classmethod
    def read(cls, asked: Asked, now: datetime) -> Self:
        """Read the options.

        Raises:
            CommandError: one cannot be understood; the text names it.
        """
        return cls(
            reason=_one_of("--reason", asked.reason, tuple(Reason)),
            receiver=_receiver(asked.receiver),
            task=asked.task,
            since=moment("--since", asked.since, now),
            until=moment("--until", asked.until, now),
            topic=_one_of("--topic", asked.topic, _TOPICS),
        )

    @property
    def given(self) -> bool:
        return self != Filters()

    def topics(self, topics: Topics) -> list[str]:
        """Return the topics to read."""
        found = dict(zip(_TOPICS, topics.dead_letters, strict=True))
        return [found[self.topic]] if self.topic else list(found.values())

    def match(self, letter: Letter) -> bool:
        wanted = {"reason": self.reason, "receiver": self.receiver, "task": self.task}
        return (
            all(value is None or getattr(letter, name) == value for name, value in wanted.items())
            and (self.since is None or letter.at >= self.since)
            and (self.until is None or letter.at < self.until)
        )


def moment(option: str, text: str | None, now: datetime) -> datetime | None:
    """Read an ISO 8601 time, in UTC unless it says otherwise, or how long ago it was.

    Raises:
        CommandError: it is neither.
    """
    if text is None:
        return None
    try:
        read = datetime.fromisoformat(text)
        return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    try:
        return now - duration(text)
    except (ValueError, OverflowError):
        raise CommandError(f"{option}: {text!r} is neither a time (2026-01-31T12:00) nor how long ago (2h)") from None


def _receiver(text: str | None) -> str | None:
    try:
        return None if text is None else receiver_of(text)
    except ValueError:
        raise CommandError(f"--receiver: {text!r} is no receiver such as https://hooks.example.com") from None


def _one_of(option: str, text: str | None, known: tuple[str, ...]) -> str | None:
    if text is not None and text not in known:
        raise CommandError(f"{option}: {text!r} is none of {', '.join(map(repr, map(str, known)))}")
    return text
