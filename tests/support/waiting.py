"""Waiting for conditions, never for a time."""

import asyncio
import inspect
import itertools
import os
import random
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

_PAUSE = 0.02  # seconds between two looks


async def eventually(condition: Callable[[], Any], deadline: float = 10, what: Callable[[], str] = lambda: "") -> Any:
    """Return the first truthy answer of `condition`, sync or async, within `deadline` seconds.

    Raises:
        AssertionError: there was none; `what` is then asked for what to add to the message.
    """
    last: Any = None
    try:
        async with asyncio.timeout(deadline):
            while not (last := await _ask(condition)):
                await asyncio.sleep(_PAUSE)
    except TimeoutError:
        raise AssertionError(f"not within {deadline} s; last answer: {last!r}\n{what()}".rstrip()) from None
    return last


async def _ask(condition: Callable[[], Any]) -> Any:
    answer = condition()
    return await answer if inspect.isawaitable(answer) else answer


def free_port() -> int:
    """Return a port that is free, and stays so until whoever asked for it listens there.

    It is none that a system gives to clients by itself, for then any connection might take it meanwhile, and none that
    this process or the other ones of this run have had before.
    """
    while True:
        port = next(_ports)
        with suppress(OSError):
            socket.create_server(("127.0.0.1", port)).close()
            return port


def _ports_of(worker: str) -> Iterator[int]:
    share = 2_000
    first = 12_000 + share * (int(worker.removeprefix("gw")) % 10)
    ports = list(range(first, first + share))
    random.shuffle(ports)  # another run may be under way on this machine
    return itertools.cycle(ports)


_ports = _ports_of(os.environ.get("PYTEST_XDIST_WORKER", "gw0"))
