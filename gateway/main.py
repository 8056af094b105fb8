"""The composition root of `callstream gateway`."""

import asyncio
import multiprocessing
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from callstream.runtime.logs import configure_logging, get_logger
from callstream.runtime.settings import Settings, load_settings
from callstream.tasks import load_tasks
from gateway.app import create_app
from gateway.ending import ending_in_time
from gateway.publisher import KafkaPublisher

log = get_logger()
_KEEP_ALIVE = 75  # seconds; longer than load balancers keep theirs, else they use a connection that is being closed


def run(settings: Settings, listener: socket.socket, workers: int) -> None:
    """Take requests on `listener` until SIGTERM or Ctrl-C.

    Raises:
        RegistryError: the installed task types do not fit together.
    """
    load_tasks()  # so that what is wrong with them is said once, here, and not by each worker
    config = uvicorn.Config(
        "gateway.main:compose",
        factory=True,
        workers=workers,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=round(settings.gateway.deadline.total_seconds()) + 1,
    )
    host, port = listener.getsockname()[:2]
    log.info("gateway.listening", host=host, port=port, workers=workers)
    for number in (signal.SIGINT, signal.SIGTERM):
        # uvicorn stops on these, and then raises them again for whoever handled them before; nobody did.
        signal.signal(number, lambda *_: None)
    if workers == 1:
        uvicorn.Server(config).run([listener])
    else:
        _run_workers(config, listener, settings)
    log.info("gateway.stopped")


def _run_workers(config: uvicorn.Config, listener: socket.socket, settings: Settings) -> None:
    supervisor = Multiprocess(config, [listener])
    with ending_in_time(settings.gateway.deadline, parent=True):
        supervisor.run()
    if any(worker.exitcode == STARTUP_FAILURE for worker in supervisor.processes):
        sys.exit(STARTUP_FAILURE)  # uvicorn itself takes that for a good end


def compose() -> FastAPI:
    """Compose the application in the process that serves it, which may be a worker of its own."""
    settings = load_settings()
    configure_logging(settings.log_level, settings.log_format)
    tasks = load_tasks()
    publisher = KafkaPublisher(settings, [settings.topic_names.requests(name) for name in tasks])

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        _end_with_parent()
        with ending_in_time(settings.gateway.deadline):
            async with publisher.running():
                yield

    return create_app(settings, tasks, publisher, lifespan)


def _end_with_parent() -> None:
    """Stop a worker whose parent was killed: it would hold the port against the next start."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        asyncio.get_running_loop().add_reader(parent.sentinel, signal.raise_signal, signal.SIGTERM)
