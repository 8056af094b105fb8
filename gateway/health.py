"""Health on a port of its own, from a thread with a loop of its own: whatever the loop that takes requests suffers."""

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from callstream.runtime.health import health_server
from gateway.publisher import Publisher

_BEAT = 0.25  # seconds
# Seconds without a turn of the loop after which the process is not live. Load makes turns long, and to restart the
# process for it would make the load of the others larger.
_STUCK = 30.0


class Heart:
    """What the loop that takes requests last said of itself: it beats there, and is asked from anywhere."""

    def __init__(self, publisher: Publisher, clock: Callable[[], float] = time.monotonic) -> None:
        self._publisher = publisher
        self._clock = clock
        self.beat()

    def beat(self) -> None:
        self._last = self._clock()
        self._trouble = self._publisher.trouble

    async def live(self) -> str | None:
        silent = self._clock() - self._last
        return f"the event loop has not turned for {silent:.0f} s" if silent > _STUCK else None

    async def ready(self) -> str | None:
        return self._trouble


@asynccontextmanager
async def health_thread(listener: socket.socket | None, publisher: Publisher) -> AsyncIterator[None]:
    """Answer on `listener`, where there is one, for the length of the block."""
    if listener is None:
        yield
        return
    heart = Heart(publisher)
    beating = asyncio.create_task(_beats(heart))
    thread = _Thread(listener, heart)
    thread.start()
    try:
        yield
    finally:
        beating.cancel()
        with suppress(asyncio.CancelledError):
            await beating
        await asyncio.to_thread(thread.stop)


async def _beats(heart: Heart) -> None:
    while True:
        heart.beat()
        await asyncio.sleep(_BEAT)


class _Thread(threading.Thread):
    def __init__(self, listener: socket.socket, heart: Heart) -> None:
        super().__init__(name="health", daemon=True)
        self._listener = listener
        self._heart = heart
        self._serving = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._stop_asked: asyncio.Event

    def run(self) -> None:
        asyncio.run(self._serve())

    def stop(self) -> None:
        """Return when nobody is answered any more."""
        self._serving.wait()
        with suppress(RuntimeError):  # it has ended already
            self._loop.call_soon_threadsafe(self._stop_asked.set)
        self.join()

    async def _serve(self) -> None:
        self._loop, self._stop_asked = asyncio.get_running_loop(), asyncio.Event()
        self._serving.set()
        async with health_server(self._listener, live=self._heart.live, ready=self._heart.ready):
            await self._stop_asked.wait()
