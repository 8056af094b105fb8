"""Why a task was not accepted, or not known to be."""

from collections.abc import Iterable

from pydantic import BaseModel, JsonValue


class ClientError(Exception):
    """A task was not accepted, or not known to be."""


class Detail(BaseModel, frozen=True):
    """What is wrong at one place of a request; `loc` begins with `body` or `header`."""

    type: str
    loc: tuple[str | int, ...]
    msg: str
    input: JsonValue = None

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.loc))}: {self.msg}"


class InvalidError(ClientError):
    """Nothing was stored, and never will be: the request has to be mended."""

    def __init__(self, details: Iterable[Detail]) -> None:
        self.details = tuple(details)
        super().__init__("; ".join(map(str, self.details)))


class RefusedError(ClientError):
    """Nothing was stored; try again, after `retry_after` seconds where that is known."""

    def __init__(self, text: str, retry_after: int | None = None) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class OutcomeUnknownError(ClientError):
    """The task may have been stored or not, as `task_id` where that is known."""

    def __init__(self, text: str, task_id: str | None = None) -> None:
        super().__init__(text)
        self.task_id = task_id
