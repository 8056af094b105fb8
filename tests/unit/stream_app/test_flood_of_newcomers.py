"""Beside thousands of new receivers that are silent, each at an address of its own, a new good one is asked soon."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from callstream.runtime.settings import Settings
from stream_app.outcome import Delivered, Outcome, Unreachable
from tests.support.dispatcher import Dispatcher
from tests.support.virtual_time import in_virtual_time, now

START = datetime(2026, 1, 1, tzinfo=UTC)
FLOOD = 3_000
DEADLINE = 15.0  # seconds


class Receivers:
    """Those in 127/8 say nothing, the others answer at once."""

    def __init__(self) -> None:
        self._began = now()
        self.delivered: dict[str, float] = {}

    def clock(self) -> datetime:
        return START + timedelta(seconds=now() - self._began)

    async def attempt(self, url: str, body: bytes, headers: Mapping[str, str]) -> Outcome:  # noqa: ARG002
        if (urlsplit(url).hostname or "").startswith("127."):
            await asyncio.sleep(DEADLINE)
            return Unreachable("no answer within 15 s")
        await asyncio.sleep(0.003)
        self.delivered[headers["webhook-id"]] = now()
        return Delivered(200)


@in_virtual_time
async def test_beside_a_flood_of_silent_ones_a_good_one_is_asked_within_seconds_the_first_time_it_comes() -> None:
    receivers = Receivers()
    dispatcher = Dispatcher(Settings(), receivers, clock=receivers.clock, monotonic=now)
    sent: dict[str, float] = {}

    def send_new() -> None:
        number = len(sent)
        sent[f"new-{number}"] = now()
        dispatcher.finish(f"new-{number}", f"http://192.0.2.{number}/")

    for number in range(FLOOD):
        dispatcher.finish(f"silent-{number}", f"http://127.1.{number // 250}.{1 + number % 250}/")
    for _ in range(70):
        send_new()
        await asyncio.sleep(0.3)
    await asyncio.sleep(9)
    assert max(receivers.delivered.get(task, float("inf")) - at for task, at in sent.items()) < 3
    assert dispatcher.failures == []
