"""Which topics there are."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Topics:
    """The topics' names; `prefix` keeps several installs on one cluster apart."""

    prefix: str = ""

    def requests(self, task: str) -> str:
        return f"{self.prefix}{task}.requests"

    @property
    def results(self) -> str:
        return f"{self.prefix}task.results"

    @property
    def task_dead_letters(self) -> str:
        return f"{self.prefix}task.dead-letters"

    @property
    def callback_dead_letters(self) -> str:
        return f"{self.prefix}callback.dead-letters"

    def all(self, tasks: Iterable[str]) -> list[str]:
        """Return every topic that an install with these task types needs."""
        requests = [self.requests(task) for task in tasks]
        return [*requests, self.results, *self.dead_letters]

    @property
    def dead_letters(self) -> list[str]:
        return [self.task_dead_letters, self.callback_dead_letters]
