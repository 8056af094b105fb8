"""Errors as RFC 9457 problem details; only a body that does not validate is answered in FastAPI's own form."""

from http import HTTPStatus

import pydantic_core
from fastapi import FastAPI, Request, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.status import HTTP_422_UNPROCESSABLE_CONTENT, HTTP_500_INTERNAL_SERVER_ERROR

from callstream.contract.validation import first_errors
from callstream.runtime.logs import get_logger

log = get_logger()
_ERRORS = 20
_ERRORS_SIZE = 16 * 1024  # bytes
_TEXT_SIZE = 200  # characters


class Problem(BaseModel, frozen=True):
    """RFC 9457; `type` is left out, which means that the status says it all."""

    title: str
    status: int
    detail: str
    task_id: str | None = None


class ProblemError(HTTPException):
    """Ends a request with a problem; `retry_after` is in seconds, `task_id` names a task whose outcome is unknown."""

    def __init__(self, status: int, detail: str, *, retry_after: int | None = None, task_id: str | None = None) -> None:
        headers = None if retry_after is None else {"Retry-After": str(retry_after)}
        super().__init__(status, detail, headers)
        self.task_id = task_id


class ValidationProblem(Exception):  # noqa: N818 - the answer, more than an error
    """Ends a request with 422; `body` is JSON in FastAPI's form."""

    def __init__(self, body: bytes) -> None:
        super().__init__(body)
        self.body = body


def wrong_header(name: str, value: str, text: str) -> ValidationProblem:
    detail = pydantic_core.ErrorDetails(type="value_error", loc=("header", name), msg=text, input=value)
    return ValidationProblem(_details_json([detail]))


def errors_json(error: pydantic_core.ValidationError) -> bytes:
    """Return the errors of a body in FastAPI's form, as JSON; at most `_ERRORS`, and without what makes it large.

    Else a large body would have an answer as large, which who does not read it leaves in our memory.
    """
    details = [_in_body(detail) for detail in first_errors(error, _ERRORS)]
    body = _details_json(details)
    return body if len(body) <= _ERRORS_SIZE else _details_json([_shortened(detail) for detail in details])


def _shortened(detail: pydantic_core.ErrorDetails) -> pydantic_core.ErrorDetails:
    place = tuple(part[:_TEXT_SIZE] if isinstance(part, str) else part for part in detail["loc"])
    return pydantic_core.ErrorDetails(type=detail["type"], loc=place, msg=detail["msg"][:_TEXT_SIZE], input={})


def _in_body(detail: pydantic_core.ErrorDetails) -> pydantic_core.ErrorDetails:
    text_itself = isinstance(detail["input"], bytes)  # which was no JSON; FastAPI does not repeat it either
    return {**detail, "loc": ("body", *detail["loc"]), "input": {} if text_itself else detail["input"]}


def _details_json(details: list[pydantic_core.ErrorDetails]) -> bytes:
    # JSON has no NaN, and a refused value may be one.
    return pydantic_core.to_json({"detail": details}, inf_nan_mode="strings", fallback=str)


def problem_responses(*statuses: int) -> dict[int | str, dict[str, object]]:
    """Return the `responses` of a route for OpenAPI."""
    # Not by FastAPI's `model`: it would document application/json beside what is really answered.
    content = {"application/problem+json": {"schema": Problem.model_json_schema()}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


def problem_json(status: int, detail: str, task_id: str | None = None) -> bytes:
    problem = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail, task_id=task_id)
    return problem.model_dump_json(exclude_none=True).encode()


def answer_problems(app: FastAPI) -> None:
    """Make `app` answer every error as a problem."""

    async def problem(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - for mypy; it is what the handler is registered for
        return _response(error.status_code, error.detail, error.headers, getattr(error, "task_id", None))

    async def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, ValidationProblem)  # noqa: S101 - likewise
        return Response(error.body, HTTP_422_UNPROCESSABLE_CONTENT, media_type="application/json")

    async def bug(request: Request, error: Exception) -> Response:
        log.error("request.failed", path=request.url.path, exc_info=error)
        return _response(HTTP_500_INTERNAL_SERVER_ERROR, "an error of the gateway; its log tells more")

    app.add_exception_handler(HTTPException, problem)
    app.add_exception_handler(ValidationProblem, invalid)
    app.add_exception_handler(Exception, bug)


def _response(status: int, detail: str, headers: object = None, task_id: str | None = None) -> Response:
    found = dict(headers) if isinstance(headers, dict) else {}
    body = problem_json(status, detail, task_id)
    return Response(body, status, headers=found, media_type="application/problem+json")
