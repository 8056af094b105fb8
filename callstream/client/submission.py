"""What is submitted, whichever way it goes."""

from datetime import datetime
from typing import NamedTuple, Protocol


class Submission(NamedTuple):
    """`body` is the JSON that both ways take."""

    task: str
    body: bytes
    idempotency_key: str | None
    callback_deadline: datetime | None


class Door(Protocol):
    """A way into the pipeline."""

    async def open(self) -> None: ...

    async def submit(self, submission: Submission) -> str:
        """Return the task_id when the broker holds the task.

        Raises:
            InvalidError, RefusedError, OutcomeUnknownError: it does not, or is not known to.
        """

    async def close(self) -> None: ...
