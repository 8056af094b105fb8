"""Produce one calculation with confluent-kafka: no key, no headers."""

import json
import os

from confluent_kafka import KafkaError, Message, Producer

ITEM = {"name": "sum", "num_1": 40, "num_2": 2, "operation": "+", "result_rounding": 0}
REQUEST = {"callback_url": os.environ["CALLBACK_URL"], "message": [ITEM]}


def acknowledged(error: KafkaError | None, message: Message) -> None:
    if error is not None:
        raise SystemExit(f"not stored: {error}")
    print(f"{message.topic()}/{message.partition()}@{message.offset()}")


producer = Producer(
    {
        "bootstrap.servers": os.environ.get("KAFKA_BOOTSTRAP", "127.0.0.1:9092"),
        "acks": "all",
        "enable.idempotence": True,
    }
)
topic = os.environ.get("TOPIC", "calculation.requests")
producer.produce(topic, json.dumps(REQUEST).encode(), on_delivery=acknowledged)
if producer.flush(30):
    raise SystemExit("no acknowledgement within 30 s")
