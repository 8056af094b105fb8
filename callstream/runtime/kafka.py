"""How every client of ours reaches Kafka."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
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


async def await_topics(
    settings: Settings,
    topics: Iterable[str],
    one_of: AbstractSet[str] = frozenset(),
    tell: Callable[[str], None] = lambda _: None,
) -> set[str]:
    """Return all topics of the broker when it has these, but of `one_of` one is enough.

    Say what is missing in the log, and `tell` it, once for each change; "" when nothing is.
    """
    wanted, said = set(topics), ""
    while True:
        found = await _topics(settings)
        trouble = found if isinstance(found, str) else missing_topics(wanted - found)
        if trouble != said:
            if trouble:
                log.warning("topics.awaited", trouble=trouble)
            tell(trouble)
            said = trouble
        if isinstance(found, set) and wanted - one_of <= found and (not one_of or one_of & found):
            return found
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


def missing_topics(topics: Iterable[str]) -> str:
    """Return what is to be said of topics that are not there; "" if these are none."""
    names = ", ".join(sorted(topics))
    return f"missing topics, which `callstream topics` creates: {names}" if names else ""
