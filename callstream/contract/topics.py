"""Which topics there are."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from callstream.contract.durations import duration_text


class Shape(NamedTuple):
    """What a topic is like; `largest` is in bytes, `retention` in milliseconds, None where the broker does not tell."""

    partitions: int
    replicas: int
    largest: int | None
    retention: int | None


@dataclass(frozen=True)
class Topics:
    """The topics' names; `prefix` keeps several installs on one cluster apart."""

    prefix: str = ""

    def requests(self, task: str) -> str:
        return f"{self.prefix}{task}.requests"

    @property
    def results(self) -> str:
        return f"{self.prefix}task.results"

    def retry(self, delay: timedelta) -> str:
        """Return the topic of the tier in which results wait for `delay`."""
        return f"{self.prefix}callback.retry.{duration_text(delay)}"

    def is_retry(self, topic: str) -> bool:
        """Return whether `topic` is a tier's, also of a schedule that is no longer set."""
        return topic.startswith(f"{self.prefix}callback.retry.")

    @property
    def attempts(self) -> str:
        return f"{self.prefix}callback.attempts"

    @property
    def task_dead_letters(self) -> str:
        return f"{self.prefix}task.dead-letters"

    @property
    def callback_dead_letters(self) -> str:
        return f"{self.prefix}callback.dead-letters"

    @property
    def dead_letters(self) -> list[str]:
        return [self.task_dead_letters, self.callback_dead_letters]

    def all(self, tasks: Iterable[str], tiers: Iterable[timedelta]) -> list[str]:
        """Return every topic that an install with these task types and retry tiers needs."""
        requests = [self.requests(task) for task in tasks]
        retries = [self.retry(delay) for delay in tiers]
        return [*requests, self.results, *retries, self.attempts, *self.dead_letters]
