"""Answers that the protocol gives itself, where the application gives none."""

from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from gateway.problems import problem_json


class RefusedRequestError(Exception):
    """Raised within the parser's callbacks, ends the request."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


def refusal(status: int, detail: str) -> bytes:
    """Return an answer's bytes: a problem, after which the connection closes."""
    body = problem_json(status, detail)
    retry = "retry-after: 1\r\n" if status == HTTPStatus.SERVICE_UNAVAILABLE else ""
    fields = f"content-type: application/problem+json\r\ncontent-length: {len(body)}\r\n{retry}connection: close\r\n"
    return STATUS_LINE[status] + fields.encode() + b"\r\n" + body
