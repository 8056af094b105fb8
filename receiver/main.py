"""The composition root of `callstream receiver`."""

import asyncio
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import structlog
import uvicorn
import uvloop
from rich.console import Console

from receiver.app import create_app
from receiver.connection import DroppableConnection

log = structlog.get_logger()


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or []:
            host, port = listener.getsockname()[:2]
            log.info("receiver.ready", url=f"http://{f'[{host}]' if ':' in host else host}:{port}")

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take SIGTERM and Ctrl-C as a good end, where uvicorn would raise them again when all is done."""
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self.handle_exit, number, None)
        yield


def run(listener: socket.socket, secrets: Sequence[str]) -> None:
    """Receive on `listener` until SIGTERM or Ctrl-C; `secrets` as for `create_app`."""
    config = uvicorn.Config(
        create_app(Console(), secrets),
        http=DroppableConnection,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
    )
    uvloop.run(_Server(config).serve([listener]))
    log.info("receiver.stopped")
