"""Fetches JSON from REST APIs."""

from typing import Literal

import httpx
import pydantic_core
from pydantic import Field, JsonValue

from callstream.contract.messages import Item
from callstream.tasks.registry import TaskContext, TaskError, task

_EXAMPLE = (
    {
        "name": "api_0",
        "url": "https://api.example.com/data.json",
        "method": "GET",
        "headers": {"accept": "application/json"},
        "payload": {},
    },
)
_HTTP_ERROR = 400


class DataItem(Item):
    """`payload` is sent as JSON on POST."""

    url: str
    method: Literal["GET", "POST"] = "GET"
    headers: dict[str, str] = Field(default_factory=dict)
    payload: dict[str, JsonValue] | list[dict[str, JsonValue]] = Field(default_factory=dict)


@task("data", path="/v1/data/from-api", example=_EXAMPLE)
async def fetch(item: DataItem, context: TaskContext) -> JsonValue:
    """Fetch JSON from each API."""
    content = pydantic_core.to_json(item.payload) if item.method == "POST" else None
    headers = {"content-type": "application/json", **_lowered(item.headers)} if content else item.headers
    try:
        request = context.http.build_request(item.method, item.url, headers=headers, content=content)
        response = await context.http.send(request, stream=True)
        try:
            if response.status_code >= _HTTP_ERROR:
                raise TaskError(f"the API answered {response.status_code}")
            body = await _read(response, context.fetch_limit)
        finally:
            await response.aclose()
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise TaskError(f"the url cannot be used: {error}") from error
    except (ValueError, TypeError) as error:  # header names and values that HTTP does not allow
        raise TaskError(f"the request cannot be sent: {error}") from error
    except httpx.HTTPError as error:
        raise TaskError(f"the API cannot be reached: {error or type(error).__name__}") from error
    return _json(body)


def _lowered(headers: dict[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


async def _read(response: httpx.Response, limit: int) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > limit:
            raise TaskError(f"the API's answer is larger than {limit} bytes")
    return bytes(body)


def _json(body: bytes) -> JsonValue:
    try:
        value: JsonValue = pydantic_core.from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise TaskError(f"the API's answer is not JSON: {error}") from error
    return value
