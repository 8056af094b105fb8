"""Records as they come from a broker, and a broker that takes them."""

import json
from collections import deque

from callstream.contract.records import Headers, OutgoingRecord, Record, TopicPartition

CALLBACK_URL = "http://receiver.example/test-me"
RECEIVED = 1_700_000_000.0  # seconds since the epoch


def record(
    value: object,
    *,
    topic: str = "calculation.requests",
    headers: Headers = (),
    key: bytes | None = None,
    timestamp: float = RECEIVED,
) -> Record:
    """Return a record with `value` as it is if it is bytes or None, else as JSON."""
    raw = value if isinstance(value, bytes | None) else json.dumps(value).encode()
    return Record(TopicPartition(topic, 3), 42, key, raw, headers, timestamp)


class Broker:
    """Takes every record and keeps it, except for the failures that it was told to begin with."""

    def __init__(self) -> None:
        self.taken: list[OutgoingRecord] = []
        self.asked = 0
        self.failures: deque[Exception] = deque()

    async def produce(self, record: OutgoingRecord) -> None:
        self.asked += 1
        if self.failures:
            raise self.failures.popleft()
        self.taken.append(record)

    @property
    def only(self) -> OutgoingRecord:
        (taken,) = self.taken
        return taken


def header(record: OutgoingRecord, name: str) -> bytes | None:
    (value,) = (value for found, value in record.headers if found == name)
    return value
