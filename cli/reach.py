"""Whether a broker answers."""

import asyncio

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from callstream.runtime.kafka import expecting_refusals

_PAUSE = 0.1  # seconds between two questions
_ANSWER = 5_000  # milliseconds that one answer may take


async def answers_within(seconds: float, **client_options: object) -> bool:
    """Return whether a broker answers a metadata request; it is asked once, and again until `seconds` are over."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while not await _answers(client_options):
        if loop.time() >= end:
            return False
        await asyncio.sleep(_PAUSE)
    return True


async def _answers(client_options: dict[str, object]) -> bool:
    client = AIOKafkaClient(**client_options, request_timeout_ms=_ANSWER)
    try:
        with expecting_refusals():
            await client.bootstrap()
    except (KafkaError, OSError):
        return False
    else:
        return bool(client.cluster.brokers())
    finally:
        await client.close()
