"""Reads a request's body: plain JSON, limited in size and time."""

import asyncio

from fastapi import Request
from starlette.requests import ClientDisconnect

from gateway.problems import ProblemError, wrong_header

MARGIN = 0.9  # of the deadline, so that the answer is written within it


async def read_body(request: Request, limit: int, by: float) -> bytes:
    """Return the body, which may have `limit` bytes and must be there `by` then (in the loop's time).

    Raises:
        ProblemError: it is too large, or too slow.
        ValidationProblem: its headers say that it is something else than plain JSON.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not (
        media_type.startswith("application/") and media_type.endswith("+json")
    ):
        raise wrong_header("content-type", media_type, "must be application/json")
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding != "identity":
        raise wrong_header("content-encoding", encoding, "must be absent: send the body as it is")
    if int(request.headers.get("content-length", 0)) > limit:  # the server has checked that it is a number
        raise _too_large(limit)
    try:
        async with asyncio.timeout_at(by):
            return await _collect(request, limit)
    except TimeoutError:
        raise ProblemError(408, "the body did not arrive in time") from None
    except ClientDisconnect:
        raise ProblemError(400, "the client went away") from None


async def _collect(request: Request, limit: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise _too_large(limit)
    return bytes(body)


def _too_large(limit: int) -> ProblemError:
    return ProblemError(413, f"the body is larger than {limit} bytes")
