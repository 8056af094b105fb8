"""Fetches JSON from REST APIs."""

import re
import zlib
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import Annotated, Literal, NamedTuple

import httpx
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    JsonValue,
    PlainValidator,
    TypeAdapter,
    ValidationInfo,
)
from pydantic_core import core_schema

from callstream.contract.framing import is_framing
from callstream.contract.hosts import dialled_host
from callstream.contract.messages import Item
from callstream.contract.raw_json import RawJson, check_json, encode_json, to_json
from callstream.contract.receivers import canonical_host
from callstream.contract.urls import check_quoted
from callstream.sharing.cut_short import CutShortError
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
_URL_LIMIT = 8 * 1024  # characters
_HEADERS = 100  # of an item
_HEADERS_SIZE = 16 * 1024  # characters of their names and values together
_HTTP_ERROR = 400
_LAST_PORT = 65_535
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NOT_IN_HEADER = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_PIECE = 16 * 1024  # bytes
_QUICK = 4 * 1024  # bytes of an answer that are checked in less than a millisecond, whatever they are
_GZIP = zlib.MAX_WBITS | 16  # zlib's way to say: with gzip's header


def _payload(value: object, info: ValidationInfo) -> RawJson:
    """Keep the payload as it will be sent: built in Python, it is ten times as large for as long as its task waits."""
    if not isinstance(value, dict) and not (isinstance(value, list) and all(isinstance(each, dict) for each in value)):
        raise ValueError("must be a JSON object or a list of objects")
    return RawJson(encode_json(value) if info.mode == "json" else to_json(value))


Payload = Annotated[
    RawJson,
    PlainValidator(_payload, json_schema_input_type=dict[str, JsonValue] | list[dict[str, JsonValue]]),
]


def _counted(value: object) -> object:
    """Refuse too many headers at once and by one error, before each of them is looked at."""
    if not isinstance(value, dict):
        return value
    if len(value) > _HEADERS:
        raise ValueError(f"must be at most {_HEADERS} headers, and not {len(value)}")
    if sum(len(text) for header in value.items() for text in header if isinstance(text, str)) > _HEADERS_SIZE:
        raise ValueError(f"must have at most {_HEADERS_SIZE} characters of names and values together")
    return value


_Headers = Annotated[
    dict[str, str],
    Field(max_length=_HEADERS, description=f"At most {_HEADERS_SIZE} characters of names and values together"),
    BeforeValidator(_counted),
]
_headers = TypeAdapter(dict[str, str])


class PackedHeaders(NamedTuple):
    """Headers as JSON: as a dict of texts they are ten times as large for as long as their task waits."""

    data: bytes = b"{}"

    def unpacked(self) -> dict[str, str]:
        return _headers.validate_json(self.data)

    @classmethod
    def __get_pydantic_core_schema__(cls, _: object, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(cls._pack, handler(_Headers))

    @classmethod
    def _pack(cls, headers: dict[str, str]) -> "PackedHeaders":
        return cls(encode_json(headers))


class DataItem(Item):
    """`payload` is sent as JSON on POST."""

    url: Annotated[str, Field(max_length=_URL_LIMIT), AfterValidator(check_quoted)]
    method: Literal["GET", "POST"] = "GET"
    headers: PackedHeaders = Field(default_factory=PackedHeaders)
    payload: Payload = Field(default_factory=lambda: RawJson(b"{}"))


def _host(item: DataItem) -> str:
    try:
        return canonical_host(dialled_host(httpx.URL(item.url).host))
    except (httpx.InvalidURL, ValueError):
        return ""


@task("data", path="/v1/data/from-api", example=_EXAMPLE, fetches_from=_host)
async def fetch(item: DataItem, context: TaskContext) -> RawJson:
    """Fetch JSON from each API."""
    try:
        body = await _answer(item, context)
    except CutShortError:  # it waits for another connection, as if no answer had begun
        body = await _answer(item, context, cut_short=True)
    return await _checked(body, context)


async def _answer(item: DataItem, context: TaskContext, *, cut_short: bool = False) -> bytes:
    """Return the body of the API's answer, for which room is taken.

    Raises:
        CutShortError: its connection is for others. What was `cut_short` before is not again.
        TaskError: there is no answer that can be used.
    """
    try:
        response = await context.http.send(_request(item, context, cut_short=cut_short), stream=True)
        try:
            if response.status_code >= _HTTP_ERROR:
                raise TaskError(f"the API answered {response.status_code}")
            return await _read(response, context)
        finally:
            await response.aclose()
    except CutShortError:
        raise
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise TaskError(f"the url cannot be used: {error}") from error
    except httpx.HTTPError as error:
        raise TaskError(f"the API cannot be reached: {str(error) or type(error).__name__}") from error


def _request(item: DataItem, context: TaskContext, *, cut_short: bool) -> httpx.Request:
    """Return the request that the item describes, checked here and not left to what a transport makes of it."""
    url = httpx.URL(item.url)
    if url.scheme not in {"http", "https"} or not url.host or "%" in url.host:  # % is what a space became
        raise TaskError("the url cannot be used: it must be an absolute http or https URL with a host")
    try:
        dialled_host(url.host)
    except ValueError as error:
        raise TaskError(f"the url cannot be used: it {error}") from None
    if url.port is not None and not 0 < url.port <= _LAST_PORT:
        raise TaskError(f"the url cannot be used: there is no port {url.port}")
    item_headers = item.headers.unpacked()
    _check_headers(item_headers)
    headers = {"accept-encoding": ("accept-encoding", "gzip")}  # by their names in lower case
    if url.userinfo:  # sent as a header and not left in the URL, where aiohttp would find it once more
        credentials = b64encode(f"{url.username}:{url.password}".encode()).decode()
        headers["authorization"] = ("authorization", f"Basic {credentials}")
        url = url.copy_with(userinfo=b"")
    content = None
    if item.method == "POST":
        content = item.payload.data
        headers["content-type"] = ("content-type", "application/json")
    headers |= {name.lower(): (name, value) for name, value in item_headers.items()}
    # Made at once: httpx looks through all of them for each that is set later.
    extensions = {"waiting": context.waiting, "cut_short": cut_short}
    return context.http.build_request(
        item.method, url, headers=list(headers.values()), content=content, extensions=extensions
    )


def _check_headers(headers: Mapping[str, str]) -> None:
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or not value.isascii() or _NOT_IN_HEADER.search(value):
            raise TaskError(f"the header {name!r} cannot be sent: HTTP does not allow its name or value")
        if is_framing(name):
            raise TaskError(f"the header {name!r} cannot be sent: it belongs to the connection and not to the request")


async def _read(response: httpx.Response, context: TaskContext) -> bytes:
    """Return the decoded body, for which room is taken; httpx's own decoders inflate a chunk whole, however large."""
    decode = _decoder(response.headers.get("content-encoding", "identity").strip().lower())
    body = bytearray()
    read, most = 0, context.fetch_limit + context.fetch_limit // 1_000 + _PIECE  # with all that a coding may add
    try:
        async for chunk in _with_end(response.aiter_raw()):
            read += len(chunk)
            _check_size(read, most, context.fetch_limit)  # of which little or nothing may come when it is decoded
            for piece in decode(chunk):
                _check_size(len(body) + len(piece), context.fetch_limit, context.fetch_limit)
                if not context.answers.grab(len(piece)):
                    with context.waiting():
                        await context.answers.take(len(piece))
                body += piece
    except BaseException:
        context.answers.give(len(body))
        raise
    return bytes(body)


async def _with_end(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Give the chunks and, when no more come, an empty one."""
    async for chunk in chunks:
        if chunk:
            yield chunk
    yield b""


def _check_size(size: int, most: int, limit: int) -> None:
    if size > most:
        raise TaskError(f"the API's answer is larger than {limit} bytes")


def _decoder(coding: str) -> Callable[[bytes], Iterable[bytes]]:
    """Return what decodes a chunk into pieces, none of them large; an empty one is the end."""
    if coding in {"", "identity"}:
        return lambda chunk: (chunk,)
    if coding not in {"gzip", "x-gzip"}:
        raise TaskError(f"the API's answer is encoded as {coding!r}, which cannot be read")
    inflate = zlib.decompressobj(_GZIP)

    def decode(chunk: bytes) -> Iterator[bytes]:
        try:
            yield (piece := inflate.decompress(chunk, _PIECE))
            while len(piece) == _PIECE:
                yield (piece := inflate.decompress(inflate.unconsumed_tail, _PIECE))
        except zlib.error as error:
            raise TaskError(f"the API's answer is not valid gzip: {error}") from error
        if inflate.unused_data:  # zlib would keep, and copy again and again, all that follows
            raise TaskError("the API's answer is not valid gzip: it goes on behind its end")
        if not chunk and not inflate.eof:
            raise TaskError("the API's answer is not valid gzip: it is cut off")

    return decode


async def _checked(body: bytes, context: TaskContext) -> RawJson:
    try:
        if len(body) <= _QUICK:
            check_json(body)
        else:
            # Else all that have come by now would be checked at once.
            async with context.turns.turn(context.task_id, len(body), context.waiting):
                check_json(body)
    except BaseException as error:
        context.answers.give(len(body))
        if isinstance(error, ValueError):
            raise TaskError(f"the API's answer is not JSON: {error}") from error
        raise
    return RawJson(body)
