"""What topics hold."""

from aiokafka import AIOKafkaConsumer, ConsumerRecord

_FETCH = 2**22  # bytes: more than the largest record


async def content(bootstrap: str, *topics: str) -> list[ConsumerRecord]:
    """Return all records that these topics hold now, those of a partition in their order."""
    found: list[ConsumerRecord] = []
    async with AIOKafkaConsumer(
        *topics, bootstrap_servers=bootstrap, auto_offset_reset="earliest", max_partition_fetch_bytes=_FETCH
    ) as consumer:
        for partition, end in (await consumer.end_offsets(consumer.assignment())).items():
            while await consumer.position(partition) < end:
                found += (await consumer.getmany(partition, timeout_ms=1_000)).get(partition, [])
    return found
