"""How every client of ours reaches Kafka."""

import asyncio
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from callstream.runtime.logs import get_logger
from callstream.runtime.settings import Settings

log = get_logger()
_LOOK_AGAIN = 1.0  # seconds


def client_options(settings: Settings, client_id: str) -> dict[str, Any]:
    """Return the options that all of aiokafka's clients share."""
    return {"bootstrap_servers": settings.kafka.bootstrap.split(","), "client_id": f"callstream-{client_id}"}


@contextmanager
def expecting_refusals() -> Iterator[None]:
    """Keep aiokafka from logging a refused connection as an error, where it is an answer."""
    log_of_aiokafka = logging.getLogger("aiokafka")
    level = log_of_aiokafka.level
    log_of_aiokafka.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log_of_aiokafka.setLevel(level)


async def await_topics(settings: Settings, topics: Iterable[str]) -> set[str]:
    """Return all topics of the broker when it has these; meanwhile say what is missing, once for each change."""
    wanted, said = set(topics), ""
    while True:
        found = await _topics(settings)
        if isinstance(found, set) and wanted <= found:
            return found
        trouble = found if isinstance(found, str) else _missing(wanted - found)
        if trouble != said:
            log.warning("topics.awaited", trouble=trouble)
            said = trouble
        await asyncio.sleep(_LOOK_AGAIN)


async def _topics(settings: Settings) -> set[str] | str:
    """Return the broker's topics, or why they cannot be told."""
    admin = AIOKafkaAdminClient(**client_options(settings, "admin"))
    try:
        with expecting_refusals():
            await admin.start()
        return set(await admin.list_topics())
    except (KafkaError, OSError) as error:
        return f"no broker at {settings.kafka.bootstrap}: {error}"
    finally:
        await admin.close()


def _missing(topics: set[str]) -> str:
    return f"missing topics, which `callstream topics` creates: {', '.join(sorted(topics))}"
