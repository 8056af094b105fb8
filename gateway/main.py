"""The composition root of `callstream gateway`."""

import asyncio
import multiprocessing
import resource
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import cast

import uvicorn
from fastapi import FastAPI
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from callstream.runtime.logs import configure_logging, get_logger
from callstream.runtime.settings import Settings, load_settings
from callstream.tasks import load_tasks
from gateway.app import create_app
from gateway.body import MARGIN
from gateway.budget import Budget
from gateway.connections import Connections, Limits
from gateway.ending import Failing, ending_in_time, time_for_answers
from gateway.health import health_thread
from gateway.http_protocol import HttpProtocol
from gateway.publisher import KafkaPublisher
from gateway.validation import Validator

log = get_logger()
_OTHER_FILES = 64  # descriptors for the brokers, health, the validation process, and connections not yet counted
_KEEP_ALIVE = 75  # seconds; longer than load balancers keep theirs, else they use a connection that is being closed


def run(settings: Settings, listener: socket.socket, workers: int, health: socket.socket | None = None) -> None:
    """Take requests on `listener` until SIGTERM or Ctrl-C; answer on `health`, where there is one, how it is.

    Raises:
        RegistryError: the installed task types do not fit together.
    """
    load_tasks()  # so that what is wrong with them is said once, here, and not by each worker
    config = _config(settings, workers, health)
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


def _config(settings: Settings, workers: int, health: socket.socket | None) -> uvicorn.Config:
    budget = Budget(settings.gateway.in_flight_bytes)
    protocol = partial(HttpProtocol, Connections(_limits(settings)), budget)
    return uvicorn.Config(
        partial(compose, budget, health),  # each worker has a copy of its own of what is shared here
        factory=True,
        workers=workers,
        loop="uvloop",
        http=cast("type[asyncio.Protocol]", protocol),  # which it calls, and no more
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # a client is who is connected, whoever it says that it is
        timeout_graceful_shutdown=time_for_answers(settings.gateway.deadline),
    )


def _run_workers(config: uvicorn.Config, listener: socket.socket, settings: Settings) -> None:
    supervisor = Multiprocess(config, [listener])
    with ending_in_time(settings.gateway.deadline, parent=True):
        supervisor.run()
    if any(worker.exitcode == STARTUP_FAILURE for worker in supervisor.processes):
        sys.exit(STARTUP_FAILURE)  # uvicorn itself takes that for a good end


def compose(budget: Budget, health: socket.socket | None) -> FastAPI:
    """Compose the application in the process that serves it, which may be a worker of its own."""
    settings = load_settings()
    configure_logging(settings.log_level, settings.log_format)
    tasks = load_tasks()
    publisher = KafkaPublisher(settings, [settings.topic_names.requests(name) for name in tasks], budget)
    own = settings.gateway
    failing = Failing()
    validator = Validator(own.body_limit, own.item_limit, own.deadline.total_seconds())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        _end_with_parent()
        with ending_in_time(settings.gateway.deadline):
            async with publisher.running(failing.fail), validator.running(), health_thread(health, publisher):
                yield
        failing.leave()

    return create_app(settings, tasks, publisher, validator, lifespan)


def _limits(settings: Settings) -> Limits:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return Limits(
        connections=min(settings.gateway.connections, max(files - _OTHER_FILES, files // 2)),
        client_connections=settings.gateway.client_connections,
        arrival=settings.gateway.deadline.total_seconds() * MARGIN,
        idle=_KEEP_ALIVE,
    )


def _end_with_parent() -> None:
    """Stop a worker whose parent was killed: it would hold the port against the next start."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        asyncio.get_running_loop().add_reader(parent.sentinel, signal.raise_signal, signal.SIGTERM)
