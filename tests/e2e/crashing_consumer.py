"""`callstream` whose consumer fails at the first record, while the broker keeps the client waiting.

As it may happen in Faust, something in the main loop goes on when it is cancelled (`mode.Service._gather_futures`).
"""

import asyncio
from contextlib import suppress
from typing import Any

from cli.main import main
from stream_app.kafka_thread import ConsumerThread

_fetch, _commit = ConsumerThread._fetch_records, ConsumerThread._commit
_failed = asyncio.Event()
_deaf: list[asyncio.Future[None]] = []


async def _fetch_and_fail(self: ConsumerThread, *args: Any, **options: Any) -> Any:
    records = await _fetch(self, *args, **options)
    if records:
        _failed.set()
        self.parent_loop.call_soon_threadsafe(lambda: _deaf.append(asyncio.ensure_future(_go_on())))
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "a header that the client cannot read")
    return records


async def _commit_until_it_fails(self: ConsumerThread, *args: Any, **options: Any) -> Any:
    return await (_wait if _failed.is_set() else _commit)(self, *args, **options)


async def _go_on() -> None:
    while True:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()


async def _wait(*_: Any, **__: Any) -> Any:
    await asyncio.Event().wait()


if __name__ == "__main__":
    ConsumerThread._fetch_records = _fetch_and_fail  # type: ignore[method-assign]
    ConsumerThread._commit = _commit_until_it_fails  # type: ignore[method-assign]
    main()
