"""Record headers: CloudEvents' Kafka binding in binary mode, W3C trace context, and the origin of a dead letter.

https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/kafka-protocol-binding.md
"""

import re
from datetime import UTC, datetime

from callstream.contract.ids import derived_task_id
from callstream.contract.records import Headers, Record

_TASK_ID = re.compile(rb"[\x21-\x7e]{1,128}")
_PASSED_ON = frozenset({"traceparent", "tracestate"})


class HeaderError(ValueError):
    """A header that Callstream reads has a value that it cannot use."""


def event_headers(task_id: str, event: str, source: str, context: Headers = ()) -> Headers:
    """Return the headers of a record that we produce: `event` names what happened, `context` is passed on."""
    return (
        ("ce_specversion", b"1.0"),
        ("ce_id", task_id.encode()),
        ("ce_type", f"callstream.{event}".encode()),
        ("ce_source", f"/callstream/{source}".encode()),
        ("ce_time", datetime.now(UTC).isoformat().encode()),
        ("content-type", b"application/json"),
        *context,
    )


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
    value = found[0]
    if value is None or not _TASK_ID.fullmatch(value):
        raise HeaderError("the header ce_id is not 1 to 128 printable ASCII characters")
    return value.decode()


def readable_task_id(record: Record) -> str:
    """Return the record's task id, or the derived one if its own cannot be used."""
    try:
        return task_id_of(record)
    except HeaderError:
        return derived_task_id(record)


def trace_context(headers: Headers) -> Headers:
    return tuple((name, value) for name, value in headers if name in _PASSED_ON)
