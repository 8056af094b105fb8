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
# aiokafka wakes everyone who waits for a full batch at once; with its default of 16 KiB a backlog costs twice as much.
PRODUCER_BATCH = 2**18  # bytes a partition


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


async def await_topics(settings: Settings, topics: Iterable[str]) -> None:
    """Return when the broker has all `topics`; meanwhile say what is missing, once for each change."""
    said = ""
    while trouble := await _trouble(settings, set(topics)):
        if trouble != said:
            log.warning("topics.awaited", trouble=trouble)
            said = trouble
        await asyncio.sleep(_LOOK_AGAIN)


async def _trouble(settings: Settings, topics: set[str]) -> str:
    admin = AIOKafkaAdminClient(**client_options(settings, "admin"))
    try:
        with expecting_refusals():
            await admin.start()
        missing = topics - set(await admin.list_topics())
    except (KafkaError, OSError) as error:
        return f"no broker at {settings.kafka.bootstrap}: {error}"
    finally:
        await admin.close()
    return f"missing topics, which `callstream topics` creates: {', '.join(sorted(missing))}" if missing else ""
