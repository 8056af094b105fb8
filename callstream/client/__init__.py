"""The client for services in Python: submit tasks over REST or straight to Kafka, verify callbacks.

async with Callstream.over_kafka("kafka.example:9092") as client:
    task_id = await client.submit("calculation", message=[...], callback_url="https://orders.example/callbacks")
"""

from callstream.client.callbacks import UnverifiedError, verify
from callstream.client.errors import ClientError, Detail, InvalidError, OutcomeUnknownError, RefusedError
from callstream.client.submitting import Callstream
from callstream.contract.messages import CallbackBody

__all__ = [
    "CallbackBody",
    "Callstream",
    "ClientError",
    "Detail",
    "InvalidError",
    "OutcomeUnknownError",
    "RefusedError",
    "UnverifiedError",
    "verify",
]
