"""`callstream` whose gateway does as HOW says: `hang` or `block` when its producer is closed, `fail` at the start.

Or it goes on as it does, and what looks after the broker ends: `lose`.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from callstream.runtime.logs import get_logger
from cli.main import main
from gateway import ending
from gateway.publisher import KafkaPublisher

log = get_logger()
HOW = os.environ["HOW"]


@asynccontextmanager
async def running(*_: object) -> AsyncIterator[None]:
    if HOW == "fail":
        raise RuntimeError("it cannot start")
    log.info("gateway.running")
    yield
    if HOW == "block":
        time.sleep(3_600)  # noqa: ASYNC251 - that is the point
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue


async def watch(_: KafkaPublisher) -> None:
    raise UnicodeError("label empty or too long")


if HOW == "lose":
    KafkaPublisher._watch = watch  # type: ignore[method-assign,assignment]
else:
    KafkaPublisher.running = running  # type: ignore[method-assign,assignment]
ending._OWN, ending._PARENT = 0.5, 2.0

if __name__ == "__main__":
    main()
