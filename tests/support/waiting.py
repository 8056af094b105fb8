"""Waiting for conditions, never for a time."""

import asyncio
import inspect
import socket
from collections.abc import Callable
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
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
