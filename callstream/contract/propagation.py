"""What of a record's headers goes on to the records that come of it: W3C trace context, and the callback's deadline.

https://www.w3.org/TR/trace-context/: what is not valid is left out, and so is a `tracestate` without its `traceparent`.
"""

import re

from callstream.contract.headers import HeaderError
from callstream.contract.records import Headers
from callstream.contract.retries import deadline_header, deadline_of

_TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_KEY = rb"(?:[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})"
_MEMBER = re.compile(_KEY + rb"=[ -+\--<>-~]{0,255}[!-+\--<>-~]")
_MOST_MEMBERS = 32
TRACESTATE_LIMIT = 512  # bytes; the standard asks for no more


def passed_on(headers: Headers) -> Headers:
    """Return those of `headers` that go on, each once and valid, the others left out."""
    return (*trace_context(headers), *_deadline(headers))


def trace_context(headers: Headers) -> Headers:
    """Return `traceparent` and `tracestate`, where they are there and valid."""
    parents = [value for name, value in headers if name == "traceparent" and value is not None]
    if len(parents) != 1 or not _TRACEPARENT.fullmatch(parents[0]):
        return ()
    state = b",".join(value or b"" for name, value in headers if name == "tracestate")
    return (("traceparent", parents[0]), *((("tracestate", state),) if _is_tracestate(state) else ()))


def _is_tracestate(state: bytes) -> bool:
    if not 0 < len(state) <= TRACESTATE_LIMIT:
        return False
    members = [member for member in (part.strip(b" \t") for part in state.split(b",")) if member]
    keys = {member.partition(b"=")[0] for member in members}
    return len(keys) == len(members) <= _MOST_MEMBERS and all(map(_MEMBER.fullmatch, members)) and bool(members)


def _deadline(headers: Headers) -> Headers:
    try:
        deadline_of(headers)
    except HeaderError:
        return ()
    return deadline_header(headers)
