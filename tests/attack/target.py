"""What an attack has before it: the gateway's port, the topics, strangers to name, and where to tell of holes."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Producer

from tests.support.batches import produce_batch

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
PARTITIONS = 3
_LARGE = 2**19  # bytes
STUFFED = range(PARTITIONS - 1)  # those that batches are put into as they are: what stands behind them has to wait
# A request's time for its answer, more than twice the gateway's deadline. Turns of a timer and no clock: this process
# is all strangers, too, and has to read what comes; whatever holds it up, however long, lets one turn pass.
TURNS = 24
TURN = 0.5  # seconds
_LATER = 3  # requests that are sent one after another when that time is over
_HEALTH = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
_HELD = 30.0  # seconds for which a client holds on to a connection that it does not use
_UNKNOWN = b"it is unknown whether the request was stored"
_SHOWN = 300  # bytes of a request or an answer that are told
_MOST = 4_000_000  # bytes of an answer that are read

Header = tuple[str, bytes | None]


class Answer(NamedTuple):
    """`status` is 0 where the connection was closed without an answer."""

    status: int
    head: bytes
    body: bytes


class Accepted(NamedTuple):
    """A request that was answered 200; `calls_back` is false where it named nobody to call."""

    number: int
    calls_back: bool


@dataclass
class Target:
    """Each attack has one of its own, with its `kind` and `number` (`dataclasses.replace`); they share the rest."""

    host: str
    port: int
    bootstrap: str
    prefix: str
    tiers: Sequence[str]
    body_limit: int
    item_limit: int
    record_limit: int
    strangers: Sequence[str]
    honest: str
    producers: dict[str, Producer]
    kind: str = ""
    number: int = -1
    accepted: dict[str, Accepted] = field(default_factory=dict)
    holes: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)  # answered that nobody knows whether they were stored
    answers: Counter[str] = field(default_factory=Counter)
    held: set[asyncio.Task[None]] = field(default_factory=set)
    produced: Counter[str] = field(default_factory=Counter)

    def receiver(self, chance: random.Random) -> str:
        """Return the URL of a receiver that does anything, but the same whenever it is called."""
        return f"{chance.choice(self.strangers)}{chance.randrange(1_000)}"

    api = receiver  # an API is asked for JSON, and does no better

    def anyone(self, chance: random.Random) -> str:
        return chance.choice([self.honest, self.receiver(chance)])

    def hole(self, text: str) -> None:
        """Tell of something that must not be."""
        self.holes.append(f"#{self.number} {self.kind}: {text}")

    async def send(self, raw: bytes | Sequence[bytes], *, source: str = "127.0.0.1") -> Answer:
        """Send bytes to the gateway, and return what it answers: it must, or at least close, within its time."""
        parts = [raw] if isinstance(raw, bytes) else raw
        exchange = asyncio.create_task(self._exchange(parts, source))
        try:
            if not await self._in_time(exchange):
                self.hole(f"no answer within {TURNS * TURN:.0f} s to {parts[0][:_SHOWN]!r}")
                return Answer(0, b"", b"")
            answer = exchange.result()
        except OSError:
            answer = Answer(0, b"", b"")
        finally:
            exchange.cancel()
        self.answers[str(answer.status or "closed")] += 1
        if answer.status == 500 and _UNKNOWN in answer.body:
            self.unknown.append(f"#{self.number} {self.kind}")
        elif answer.status >= 500 and answer.status != 503:
            self.hole(f"{answer.status} {answer.body[:_SHOWN]!r} to {parts[0][:_SHOWN]!r}")
        if answer.status == 200 and answer.body.startswith(b'{"message":'):
            self._note_accepted(json.loads(answer.body)["task_id"], parts[0])
        return answer

    def hold(self, parts: Sequence[bytes], pause: float, source: str) -> None:
        """Send parts with pauses in a connection that is then held, beside everything else."""
        task = asyncio.ensure_future(self._drip(parts, pause, source))
        self.held.add(task)
        task.add_done_callback(self.held.discard)

    async def post(self, path: str, body: bytes | object, headers: Iterable[tuple[bytes, bytes]] = ()) -> Answer:
        """POST a whole request, with what makes it one, and `headers`."""
        return await self.send(request(path, body, headers))

    async def produce(  # noqa: PLR0913, PLR0917 - a record's parts
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None = None,
        headers: Sequence[Header] = (),
        codec: str = "none",
        timestamp: int = 0,
    ) -> None:
        """Produce to a topic, named without its prefix; the broker may refuse what is too large."""
        producer = self.producers[codec]
        loop = asyncio.get_running_loop()
        done: asyncio.Future[str] = loop.create_future()

        def settle(outcome: str) -> None:
            if not done.done():
                done.set_result(outcome)

        def delivered(error: KafkaError | None, _: object) -> None:
            loop.call_soon_threadsafe(settle, "" if error is None else error.name())

        # A rush of large ones is 250 MB, behind which a partition's next record has to wait like behind a batch.
        partition = self.number % len(STUFFED) if value is not None and len(value) > _LARGE else -1
        try:
            producer.produce(
                self.prefix + topic,
                value,
                key,
                partition,
                headers=list(headers),
                timestamp=timestamp,
                on_delivery=delivered,
            )
        except KafkaException as error:
            self.produced[f"refused by the client, {error.args[0].name()}"] += 1
            return
        outcome = await done
        self.produced[f"refused by the broker, {outcome}" if outcome else f"stored, {codec}"] += 1

    async def put(self, topic: str, partition: int, raw: bytes) -> None:
        """Put a batch into a log as it is, where the broker takes it."""
        code = await produce_batch(self.bootstrap, self.prefix + topic, partition, raw)
        self.produced[f"batch, {f'refused by the broker, {code}' if code else 'stored'}"] += 1

    async def _exchange(self, parts: Sequence[bytes], source: str) -> Answer:
        reader, writer = await asyncio.open_connection(self.host, self.port, local_addr=(source, 0), limit=2**20)
        try:
            for part in parts:
                if writer.is_closing():  # it has answered already, and closed
                    break
                writer.write(part)
                with suppress(ConnectionError):
                    await writer.drain()
            return await _answer(reader, with_body=not parts[0].startswith(b"HEAD "))
        finally:
            writer.transport.abort()

    async def _in_time(self, exchange: asyncio.Task[Answer]) -> bool:
        """Return whether there is an answer in time, also on a machine where the gateway has no core for a while.

        When that time is over, so are all that the gateway gives a request: what it still owes is what its loop has not
        come to. So it is asked for something that takes no time at all, again and again. Once it has answered that, or
        not even that, it owes the first answer for no good reason.
        """
        if await _ends(exchange):
            return True
        for _ in range(_LATER):
            later = asyncio.create_task(self._exchange([_HEALTH], "127.0.0.1"))
            await _ends(later)
            later.cancel()
            await asyncio.gather(later, return_exceptions=True)
        await asyncio.wait({exchange}, timeout=TURN)  # the answer may have come with the last of those
        return exchange.done()

    async def _drip(self, parts: Sequence[bytes], pause: float, source: str) -> None:
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(_HELD):
                reader, writer = await asyncio.open_connection(self.host, self.port, local_addr=(source, 0))
                try:
                    for part in parts:
                        writer.write(part)
                        await writer.drain()
                        await asyncio.sleep(pause)
                    while await reader.read(2**16):
                        pass
                    self.answers["held, closed by the gateway"] += 1
                finally:
                    writer.transport.abort()

    def _note_accepted(self, task_id: str, raw: bytes) -> None:
        self.accepted.setdefault(task_id, Accepted(self.number, _calls_back(raw)))


def request(
    path: str,
    body: bytes | object,
    headers: Iterable[tuple[bytes, bytes]] = (),
    *,
    method: str = "POST",
    host: bytes = b"localhost",
) -> bytes:
    """Return a whole request's bytes."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [
        f"{method} {path} HTTP/1.1".encode(),
        b"Host: " + host,
        b"Content-Type: application/json",
        b"Content-Length: %d" % len(content),
        *(name + b": " + value for name, value in headers),
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + content


async def _ends(task: asyncio.Task[Answer]) -> bool:
    for _ in range(TURNS):
        await asyncio.wait({task}, timeout=TURN)
        if task.done():
            return True
    return False


@lru_cache(8)  # a crowd sends the same many times, and to read that anew for each held this process up for seconds
def _calls_back(raw: bytes) -> bool:
    try:
        body = json.loads(raw.partition(b"\r\n\r\n")[2])
    except ValueError:  # its end is not that of what was sent
        return True
    return body.get("callback_url") is not None


async def _answer(reader: asyncio.StreamReader, *, with_body: bool) -> Answer:
    """Read one final answer; what is no HTTP counts as none."""
    while True:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            return Answer(0, b"", b"")
        status = int(head.split(maxsplit=2)[1])
        if status >= 200:
            break
    fields: dict[str, Any] = {}
    for line in head.decode("latin-1").split("\r\n")[1:]:
        name, _, value = line.partition(":")
        fields[name.lower()] = value.strip()
    length = min(int(fields.get("content-length", 0)), _MOST) if with_body else 0
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        return Answer(status, head, await reader.readexactly(length))
    return Answer(status, head, b"")
