"""Health of the gateway, which a thread of its own answers."""

import asyncio
import json
import socket
from http.client import HTTPConnection

from gateway.health import Heart, health_thread
from tests.unit.gateway.conftest import FakePublisher


def asked(port: int, path: str) -> tuple[int, str | None]:
    """Return the status and what the trouble is; the event loop does not turn until it is there."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", f"/health/{path}")
        answer = connection.getresponse()
        return answer.status, json.load(answer).get("detail")
    finally:
        connection.close()


async def test_health_answers_while_the_loop_does_not_turn() -> None:
    publisher = FakePublisher()
    publisher.trouble = "the broker does not answer"
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    async with health_thread(listener, publisher):
        assert asked(port, "live") == (200, None)
        publisher.trouble = None
        assert asked(port, "ready") == (503, "the broker does not answer"), "as the loop knew it last"
        async with asyncio.timeout(30):
            while asked(port, "ready") != (200, None):
                await asyncio.sleep(0)
    assert listener.fileno() == -1, "and with the block it ends"


async def test_a_loop_that_is_stuck_is_not_live_and_one_that_is_slow_is() -> None:
    now = 0.0
    heart = Heart(FakePublisher(), lambda: now)
    now = 29.0
    assert await heart.live() is None
    now = 31.0
    assert await heart.live() == "the event loop has not turned for 31 s"
    assert await heart.ready() is None
    heart.beat()
    assert await heart.live() is None
