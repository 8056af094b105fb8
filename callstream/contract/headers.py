"""Record headers: CloudEvents' Kafka binding in binary mode, W3C trace context, and the origin of a dead letter.

https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/kafka-protocol-binding.md
"""

import re
from datetime import UTC, datetime

from callstream.contract.header_fields import HeaderField, rules
from callstream.contract.ids import derived_task_id
from callstream.contract.records import Headers, Record

TASK_ID_LIMIT = 128  # characters
_TASK_ID_PATTERN = f"[!-~]{{1,{TASK_ID_LIMIT}}}"
_TASK_ID = re.compile(_TASK_ID_PATTERN)
TASK_ID_EXAMPLE = "019a5f0e-6c3b-7d21-9e54-0b1f3c6a7d88"
TIME_EXAMPLE = "2026-01-31T12:00:00+00:00"

TASK_ID_FIELD = HeaderField("ce_id", "The task's id", TASK_ID_EXAMPLE, rules(pattern=f"^{_TASK_ID_PATTERN}$"))
_EVENT_FIELDS = (
    HeaderField("ce_specversion", "The version of CloudEvents", "1.0", rules(const="1.0")),
    TASK_ID_FIELD,
    HeaderField("ce_type", "What happened", "callstream.{event}", rules(pattern=r"^callstream\.")),
    HeaderField("ce_source", "Which process tells it", "/callstream/{source}", rules(pattern="^/callstream/")),
    HeaderField("ce_time", "When it happened", TIME_EXAMPLE, rules(format="date-time")),
    HeaderField("content-type", "The value's media type", "application/json", rules(const="application/json")),
)
TRACE_FIELDS = (
    HeaderField(
        "traceparent",
        "W3C trace context, passed on",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        required=False,
    ),
    HeaderField("tracestate", "W3C trace context, passed on", "vendor=opaque", required=False),
)
_EVENT = tuple(field.name for field in _EVENT_FIELDS)


class HeaderError(ValueError):
    """A header that Callstream reads has a value that it cannot use."""


def event_headers(task_id: str, event: str, source: str, context: Headers = ()) -> Headers:
    """Return the headers of a record that we produce: `event` names what happened, `context` is passed on."""
    values = (
        b"1.0",
        task_id.encode(),
        f"callstream.{event}".encode(),
        f"/callstream/{source}".encode(),
        datetime.now(UTC).isoformat().encode(),
        b"application/json",
    )
    return (*zip(_EVENT, values, strict=True), *context)


def event_fields(event: str, source: str) -> tuple[HeaderField, ...]:
    """Describe what `event_headers` returns."""
    return tuple(field._replace(example=field.example.format(event=event, source=source)) for field in _EVENT_FIELDS)


def task_id_of(record: Record) -> str:
    """Return the record's `ce_id`, or an id derived from its place if it has none.

    Raises:
        HeaderError: `ce_id` is there more than once, or is not 1 to 128 printable ASCII characters.
    """
    found = [value for name, value in record.headers if name == "ce_id"]
    if not found:
        return derived_task_id(record)
    if len(found) > 1:
        raise HeaderError("the header ce_id is there more than once")
    if not is_task_id(task_id := (found[0] or b"").decode("latin-1")):
        raise HeaderError(f"the header ce_id is not 1 to {TASK_ID_LIMIT} printable ASCII characters")
    return task_id


def is_task_id(text: str) -> bool:
    return _TASK_ID.fullmatch(text) is not None


def readable_task_id(record: Record) -> str:
    """Return the record's task id, or the derived one if its own cannot be used."""
    try:
        return task_id_of(record)
    except HeaderError:
        return derived_task_id(record)
