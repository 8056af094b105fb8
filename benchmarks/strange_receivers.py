"""What receivers that crawl, hang and change their names cost those that are quick, or new: nothing, it is hoped.

    .venv/bin/python -m benchmarks.strange_receivers [--seconds 20] [--rate 200]

`callbacks` runs in this process, without a broker, over real connections to a server in another one; a stub resolver
gives every name an address of its own. The same open load of quick receivers and of new ones, each asked once, is
offered three times: alone, beside as many others that answer at once, and beside 200 hosts that answer after 14 s,
2,000 names that are used once and hang, and one name that hangs in 500 spellings. Compared is the time from a result
to its callback's answer: against alone, which holds the work that any others make, and against the others that behave.
"""

import asyncio
import gc
import multiprocessing
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from enum import StrEnum
from itertools import islice, product
from multiprocessing.connection import Connection
from socket import AddressFamily
from unittest.mock import patch

import typer
from aiohttp.abc import AbstractResolver, ResolveResult

from benchmarks.running import run
from callstream.runtime.egress import EgressGuard
from callstream.runtime.http import open_transport
from callstream.runtime.logs import configure_logging
from callstream.runtime.settings import Settings
from stream_app.delivery import HttpDelivery
from stream_app.outcome import Delivered, Outcome
from tests.support.dispatcher import Dispatcher

QUICK, CRAWLING, HANGING, SPELLINGS = 20, 200, 2_000, 500
CRAWL = 14.0  # seconds
NEW_A_SECOND = 20
CRAWLING_A_SECOND = 60  # twice what those that crawl can take in the room that they have
WARM_UP = 3  # seconds, not counted
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


class Resolver(AbstractResolver):
    """Gives each name a loopback address of its own, and the next new one to the next."""

    def __init__(self) -> None:
        self._addresses: dict[str, str] = {}

    async def resolve(
        self, host: str, port: int = 0, family: AddressFamily = AddressFamily.AF_INET
    ) -> list[ResolveResult]:
        number = len(self._addresses)
        address = f"127.{1 + number // 62_500}.{1 + number // 250 % 250}.{1 + number % 250}"
        address = self._addresses.setdefault(host.lower().removesuffix("."), address)
        return [{"hostname": host, "host": address, "port": port, "family": family, "proto": 0, "flags": 0}]

    async def close(self) -> None: ...


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer as the path says: at once, after a while, or never."""
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.partition(b":")[2]))
            await asyncio.sleep({b"/quick": 0, b"/crawl": CRAWL}.get(head.split(b" ", 2)[1], 3_600))
            writer.write(ANSWER)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


def serve(ready: Connection) -> None:
    async def main() -> None:
        server = await asyncio.start_server(answer, "0.0.0.0", 0, backlog=4_096)  # noqa: S104 - all of 127.0.0.0/8
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


class Timed:
    """Notes when each callback of a quick or a new receiver was delivered."""

    def __init__(self, delivery: HttpDelivery) -> None:
        self._delivery = delivery
        self.done: dict[str, float] = {}

    async def attempt(self, url: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
        outcome = await self._delivery.attempt(url, body, headers)
        if isinstance(outcome, Delivered):
            self.done[headers["webhook-id"]] = time.perf_counter()
        return outcome


class Load:
    """Lets results stand in `task.results` at a rate, and knows when each did."""

    def __init__(self, dispatcher: Dispatcher, timed: Timed, port: int, name: str) -> None:
        self._dispatcher = dispatcher
        self._timed = timed
        self._port = port
        self._name = name
        self.sent: dict[str, dict[str, float]] = {"quick": {}, "new": {}}

    async def at(self, rate: float, seconds: float, what: Callable[[int], tuple[str, str, str]]) -> None:
        """Send `what` gives for each number: its kind, host and path."""
        began = time.perf_counter()
        for number in range(round(rate * seconds)):
            await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
            kind, host, path = what(number)
            task_id = f"{self._name}-{kind}-{number}"
            if kind in self.sent and number >= WARM_UP * rate:
                self.sent[kind][task_id] = time.perf_counter()
            self._dispatcher.finish(task_id, f"http://{host}:{self._port}{path}")

    def milliseconds(self, kind: str) -> list[float]:
        """Return how long each took; who was not called back took for ever."""
        done = self._timed.done
        return sorted((done.get(task, float("inf")) - began) * 1000 for task, began in self.sent[kind].items())


def spellings() -> Iterator[str]:
    """Yield one name in many spellings that a client dials alike."""
    letters = product(*((letter, letter.upper()) for letter in "receiver"))
    for name, dot in product(letters, (".", "\u3002", "\uff61")):
        yield f"{''.join(name)}{dot}example"


class Others(StrEnum):
    """Who is there beside the quick and the new."""

    NONE = "alone"
    WELL_BEHAVED = "beside others"
    STRANGE = "beside strange ones"


async def offered(load: Load, rate: float, seconds: float, others: Others) -> None:
    spelled = list(islice(spellings(), SPELLINGS))
    loads: list[Awaitable[None]] = [
        load.at(rate, seconds, lambda number: ("quick", f"q.quick-{number % QUICK}.example", "/quick")),
        load.at(NEW_A_SECOND, seconds, lambda number: ("new", f"n.new-{number}.example", "/quick")),
    ]
    if others is not Others.NONE:
        each = seconds - 1
        crawl, hang = ("/crawl", "/hang") if others is Others.STRANGE else ("/quick", "/quick")
        loads += [
            load.at(
                CRAWLING_A_SECOND, each, lambda number: ("crawling", f"c.crawls-{number % CRAWLING}.example", crawl)
            ),
            load.at(HANGING / each, each, lambda number: ("hanging", f"h.hangs-{number}.example", hang)),
            load.at(SPELLINGS / each, each, lambda number: ("spelled", spelled[number], hang)),
        ]
    await asyncio.gather(*loads)
    await asyncio.sleep(1)


def told(name: str, kind: str, times: list[float]) -> float:
    """Print how long the callbacks took; return their p99."""
    hundredths = statistics.quantiles(times, n=100)
    missed = sum(each == float("inf") for each in times)
    print(
        f"{name:19} {kind:5} {len(times)} jobs  p50 {hundredths[49]:.1f} ms  p99 {hundredths[98]:.1f} ms"
        f"  max {times[-1]:.1f} ms  not within a second {missed}"
    )
    return hundredths[98]


async def once(port: int, rate: float, seconds: float, others: Others) -> dict[str, float]:
    """Return the p99 of quick and new receivers, in milliseconds."""
    settings = Settings.model_validate({"egress": {"allow": "127.0.0.0/8"}})
    with patch("callstream.runtime.egress.Names", Resolver):
        async with open_transport(settings.callbacks.in_flight, EgressGuard(settings.egress)) as transport:
            timed = Timed(HttpDelivery(transport, settings.callbacks.deadline))
            dispatcher = Dispatcher(settings, timed)
            load = Load(dispatcher, timed, port, others.name)
            gc.collect()
            gc.freeze()  # as the process does when it is ready
            await offered(load, rate, seconds, others)
            found = {kind: told(others, kind, load.milliseconds(kind)) for kind in load.sent}
            dispatcher.workload.revoke(list(dispatcher.workload.positions()))
            await dispatcher.workload.drain(1)
    return found


async def measure(seconds: float, rate: float) -> None:
    configure_logging("error", "json")
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=serve, args=(theirs,), daemon=True)
    server.start()
    try:
        port = await asyncio.to_thread(ours.recv)
        found = {others: await once(port, rate, seconds, others) for others in Others}
    finally:
        server.terminate()
    strange = found.pop(Others.STRANGE)
    for others, times in found.items():
        ratios = {kind: round(strange[kind] / times[kind], 2) for kind in times}
        print(f"p99 beside strange ones, as a multiple of {others}: {ratios}")


def main(seconds: float = 22, rate: float = 200) -> None:
    run(measure(seconds, rate))


if __name__ == "__main__":
    typer.run(main)
