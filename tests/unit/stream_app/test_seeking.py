"""Where a partition is read from when a rebalance is over."""

from types import SimpleNamespace

from aiokafka.structs import TopicPartition as Partition

from stream_app.kafka_thread import seek_to_begin

NEVER, AT_BEGIN, FURTHER, LOST = (Partition("task.results", number) for number in range(4))


async def test_a_partition_that_is_committed_at_its_beginning_is_read_from_there() -> None:
    """Aiokafka seeks to no committed offset that is 0, and what was polled before would never be read."""
    sought: dict[Partition, int | str] = {}

    async def seek_to_beginning(partition: Partition) -> None:
        sought[partition] = "beginning"

    consumer = SimpleNamespace(
        assignment=lambda: {NEVER, AT_BEGIN, FURTHER}, seek=sought.__setitem__, seek_to_beginning=seek_to_beginning
    )
    await seek_to_begin(consumer, {NEVER: None, AT_BEGIN: 0, FURTHER: 7, LOST: 0})
    assert sought == {NEVER: "beginning", AT_BEGIN: 0}
