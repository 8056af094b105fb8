"""Produce one calculation with aiokafka, under a task_id of its own."""

import asyncio
import json
import os
from uuid import uuid4

from aiokafka import AIOKafkaProducer

ITEM = {"name": "sum", "num_1": 40, "num_2": 2, "operation": "+", "result_rounding": 0}


async def main() -> None:
    task_id = str(uuid4())
    # Without a callback_url the result is only a record in task.results.
    request = {"callback_url": os.environ["CALLBACK_URL"], "message": [ITEM]}
    async with AIOKafkaProducer(
        bootstrap_servers=os.environ.get("KAFKA_BOOTSTRAP", "127.0.0.1:9092"),
        acks="all",
        enable_idempotence=True,
    ) as producer:
        await producer.send_and_wait(
            os.environ.get("TOPIC", "calculation.requests"),
            json.dumps(request).encode(),
            key=task_id.encode(),
            headers=[("ce_id", task_id.encode())],
        )
    print("task_id", task_id)


asyncio.run(main())
