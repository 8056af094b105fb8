"""Batches as hostile or broken producers write them, and how to put them into a log."""

import struct
from collections.abc import Sequence
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import TopicPartition

CRC_AT, ATTRIBUTES_AT, HEAD = 17, 21, 61
TIME = 1_700_000_000_000  # milliseconds
NAME = "0123456789"  # a header's name that `with_name` can find


def batch(
    *values: bytes | None, base: int = 0, headers: Sequence[tuple[str, bytes | None]] = (), time: int = TIME
) -> bytes:
    """Return an uncompressed batch of records with these values; `time` is in milliseconds."""
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 2**30)
    for offset, value in enumerate(values):
        assert builder.append(offset, time, None, value, list(headers)) is not None
    return struct.pack(">q", base) + bytes(builder.build())[8:]


def sealed(raw: bytes) -> bytes:
    """Return the batch with the length and the checksum that its bytes have."""
    with_length = raw[:8] + struct.pack(">i", len(raw) - 12) + raw[12:]
    return with_length[:CRC_AT] + struct.pack(">I", calc_crc32c(with_length[ATTRIBUTES_AT:])) + raw[ATTRIBUTES_AT:]


def with_name(raw: bytes, name: bytes) -> bytes:
    """Return the batch with another name in place of NAME, of the same length."""
    assert len(name) == len(NAME)
    return sealed(raw.replace(NAME.encode(), name))


def compressed(raw: bytes, codec: int, payload: bytes) -> bytes:
    """Return the batch with `payload` in place of its records, under the name of this codec."""
    return sealed(raw[:ATTRIBUTES_AT] + struct.pack(">h", codec) + raw[ATTRIBUTES_AT + 2 : HEAD] + payload)


async def produce_batch(bootstrap: str, topic: str, partition: int, raw: bytes) -> int:
    """Put a batch into a log as it is; return the error code of the broker's answer."""
    client = AIOKafkaClient(bootstrap_servers=bootstrap)
    await client.bootstrap()
    try:
        await client._wait_on_metadata(topic)
        leader = client.cluster.leader_for_partition(TopicPartition(topic, partition))
        request: Any = ProduceRequest(
            required_acks=-1, timeout=10_000, topics=[(topic, [(partition, raw)])], transactional_id=None
        )
        answer = await client.send(leader, request)
    finally:
        await client.close()
    ((_, ((_, code, *_),)),) = answer.topics
    return int(code)
