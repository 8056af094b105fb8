"""Which topics these are: one that is deleted and made again has its name, and another id (Kafka 3.1 and later).

aiokafka's own request for metadata is of a version from before there were ids.
"""

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from aiokafka.errors import IncompatibleBrokerVersion
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Boolean, CompactArray, CompactString, Int16, Int32, Int64, Schema, TaggedFields

_ID = (("high", Int64), ("low", Int64))
_TEXT = CompactString("utf-8")
_TAGS = ("tags", TaggedFields)


class _Metadata12(Response):  # type: ignore[misc]  # aiokafka has no types for us
    API_KEY = 3
    API_VERSION = 12
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", CompactArray(("id", Int32), ("host", _TEXT), ("port", Int32), ("rack", _TEXT), _TAGS)),
        ("cluster_id", _TEXT),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", _TEXT),
                *_ID,
                ("internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("in_sync", CompactArray(Int32)),
                        ("offline", CompactArray(Int32)),
                        _TAGS,
                    ),
                ),
                ("operations", Int32),
                _TAGS,
            ),
        ),
        _TAGS,
    )
    topics: list[tuple[Any, ...]]


class _MetadataRequest12(RequestStruct):  # type: ignore[misc]  # likewise
    API_KEY = 3
    API_VERSION = 12
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _Metadata12
    SCHEMA = Schema(
        ("topics", CompactArray(*_ID, ("name", _TEXT), _TAGS)),
        ("create", Boolean),
        ("operations", Boolean),
        _TAGS,
    )


class _MetadataRequest(Request[_MetadataRequest12]):  # type: ignore[misc]  # likewise
    API_KEY = 3

    def __init__(self, topics: Iterable[str]) -> None:
        self._topics: list[tuple[int, int, str, dict[int, bytes]]] = [(0, 0, topic, {}) for topic in topics]

    def build(self, request_struct_class: type[_MetadataRequest12]) -> _MetadataRequest12:
        return request_struct_class(self._topics, False, False, {})  # noqa: FBT003 - the order is Kafka's


async def topic_ids(client: Any, topics: Iterable[str]) -> Mapping[str, str]:
    """Return the ids, as hexadecimal digits, of those of `topics` that are there; none where the broker has no ids.

    Raises:
        KafkaError: the broker does not answer.
    """
    try:
        answer = await client.send(client.get_random_node(), _MetadataRequest(topics))
    except (IncompatibleBrokerVersion, NotImplementedError):
        return {}
    found = {name: (high << 64 | low & (1 << 64) - 1) & (1 << 128) - 1 for _, name, high, low, *_ in answer.topics}
    return {name: UUID(int=number).hex for name, number in found.items() if number}
