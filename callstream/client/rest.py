"""Over REST: the gateway's answers as values and errors."""

from collections.abc import Mapping
from http import HTTPStatus

import httpx
from pydantic import BaseModel, ValidationError

from callstream.client.errors import ClientError, Detail, InvalidError, OutcomeUnknownError, RefusedError
from callstream.client.submission import Submission
from callstream.contract.messages import Accepted
from callstream.tasks import load_tasks

_RETRY_AFTER_DIGITS = 9
_TIMEOUT = 10.0  # seconds; the gateway answers within five
_NOTHING_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
_SHOWN = 200  # characters of an answer that is not Callstream's


class _Invalid(BaseModel):
    detail: list[Detail]


class _Problem(BaseModel):
    detail: str = ""
    task_id: str | None = None


class RestDoor:
    """Posts to the gateway at `url`; an `http` that was brought is used and left open."""

    def __init__(self, url: str, paths: Mapping[str, str], http: httpx.AsyncClient | None) -> None:
        try:
            httpx.URL(url)
        except httpx.InvalidURL as error:
            raise ValueError(f"the gateway's url cannot be used: {error}") from error
        self._url = url.rstrip("/")
        self._paths = {**{name: task.path for name, task in load_tasks().items()}, **paths}
        self._http = http or httpx.AsyncClient(timeout=_TIMEOUT)
        self._ours = http is None

    async def open(self) -> None:
        """Connections open when they are used."""

    async def close(self) -> None:
        if self._ours:
            await self._http.aclose()

    async def submit(self, submission: Submission) -> str:
        if (path := self._paths.get(submission.task)) is None:
            known = ", ".join(self._paths)
            text = f"its path is not known: it is not installed here nor in `paths`, which have {known}"
            raise InvalidError([Detail(type="task", loc=("task", submission.task), msg=text)])
        try:
            answer = await self._http.post(self._url + path, content=submission.body, headers=_headers(submission))
        except _NOTHING_SENT as error:
            raise RefusedError(f"the gateway cannot be reached: {error!r}") from error
        except httpx.RequestError as error:  # an answer that cannot be decoded as well
            raise OutcomeUnknownError(f"the gateway did not answer: {error!r}") from error
        return _task_id_in(answer)


def _headers(submission: Submission) -> dict[str, str]:
    headers = {"content-type": "application/json"}
    if submission.idempotency_key is not None:
        headers["idempotency-key"] = submission.idempotency_key
    if submission.callback_deadline is not None:
        headers["callback-deadline"] = submission.callback_deadline.isoformat()
    return headers


def _task_id_in(answer: httpx.Response) -> str:
    if answer.status_code != HTTPStatus.OK:
        raise _error_of(answer)
    try:
        return Accepted.model_validate_json(answer.content).task_id
    except ValidationError as error:
        raise OutcomeUnknownError(f"the answer is not Callstream's: {_beginning(answer)!r}") from error


def _error_of(answer: httpx.Response) -> ClientError:
    status = answer.status_code
    if status == HTTPStatus.UNPROCESSABLE_ENTITY:
        return InvalidError(_details(answer))
    problem = _problem(answer)
    text = f"the gateway answered {status}: {problem.detail}".removesuffix(": ")
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return InvalidError([Detail(type="too_large", loc=("body",), msg=problem.detail or text)])
    retry_after = answer.headers.get("retry-after", "")
    # A proxy in between may say 5xx of a request that it passed on.
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR and not (status == HTTPStatus.SERVICE_UNAVAILABLE and retry_after):
        return OutcomeUnknownError(text, problem.task_id)
    return RefusedError(
        text, int(retry_after) if retry_after.isdecimal() and len(retry_after) <= _RETRY_AFTER_DIGITS else None
    )


def _details(answer: httpx.Response) -> list[Detail]:
    try:
        return _Invalid.model_validate_json(answer.content).detail
    except ValidationError:
        return [Detail(type="unknown", loc=("body",), msg=_problem(answer).detail or _beginning(answer))]


def _beginning(answer: httpx.Response) -> str:
    """Return what can be shown of an answer; its own encoding may be none for texts, such as `hex`."""
    return answer.content[: 4 * _SHOWN].decode(errors="replace")[:_SHOWN]


def _problem(answer: httpx.Response) -> _Problem:
    try:
        return _Problem.model_validate_json(answer.content)
    except ValidationError:
        return _Problem()
