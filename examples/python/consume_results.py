"""Read every result of `task.results`, as a service does that would rather consume than be called back."""

import asyncio
import json
import os
from contextlib import suppress

from aiokafka import AIOKafkaConsumer


async def main() -> None:
    async with AIOKafkaConsumer(
        os.environ.get("TOPIC", "task.results"),
        bootstrap_servers=os.environ.get("KAFKA_BOOTSTRAP", "127.0.0.1:9092"),
        group_id=os.environ.get("GROUP", "example-results"),
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    ) as consumer:
        async for record in consumer:
            # At least once: a result may come again, with the same task_id.
            result = json.loads(record.value)
            print(result["task_id"], result["task"], result["results"], result["errors"], flush=True)
            await consumer.commit()


with suppress(KeyboardInterrupt):
    asyncio.run(main())
