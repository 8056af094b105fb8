"""The gateway under attack, with the chart's memory: it stays within it, answers others, and says how it is."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import aiohttp
import psutil
import pytest

from tests.support.kafka import Kafka, OwnKafka
from tests.support.processes import CALLSTREAM, Service, run_to_end
from tests.support.waiting import eventually, free_port

MEMORY = 256 * 2**20  # the chart's limit
BUDGET = 17_825_792  # what the chart gives to bodies of it
DEADLINE = 2  # seconds, the gateway's
IN_TIME = 15  # seconds; the answers' own deadline is shorter
HEAD = b"GET /healthcheck HTTP/1.1\r\nhost: a\r\n"
POST = b"POST /v1/calculation/basic HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n"
ITEM = {"name": "sum", "num_1": 1, "num_2": 2, "operation": "+", "result_rounding": 0}
SMALL = {"callback_url": "http://receiver.example/", "message": [ITEM]}
LARGEST = json.dumps({**SMALL, "padding": "x" * (2**20 - 300)}).encode()
LARGE = json.dumps({**SMALL, "padding": "x" * 500_000}).encode()
# What of a mebibyte takes most time and memory to validate.
WORST = json.dumps({**SMALL, "message": [{"name": "a", "url": "http://a.example/", "payload": {"a": [[]] * 260_000}}]})

# A head and a body that go on, but do not come.
HALF_HEAD = [POST + b"".join(b"x-%d: " % number + b"a" * 180 + b"\r\n" for number in range(80))]
HALF_BODY = [POST + b"content-length: 200000\r\n\r\n" + b" " * 100_000]


class Gateway:
    """A gateway under attack; `others` and `health` are what was answered meanwhile."""

    def __init__(self, service: Service, port: int, health_port: int, session: aiohttp.ClientSession) -> None:
        self._service = service
        self._port = port
        self._health_port = health_port
        self._session = session
        self.others: list[int | None] = []
        self.health: list[int | None] = []

    async def send(self, data: Iterable[bytes], address: str = "127.0.0.1") -> int | None:
        """Send on a connection of its own; return the answer's status, None if the connection just ended."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, local_addr=(address, 0))
        try:
            with suppress(ConnectionError):  # the answer may be there nevertheless
                for part in data:
                    writer.write(part)
                    await writer.drain()
            with suppress(ConnectionError):
                line = await asyncio.wait_for(reader.readline(), IN_TIME)
                return int(line.split()[1]) if line else None
            return None
        finally:
            writer.close()

    async def serves(self) -> bool:
        """Return whether it takes requests, a dozen as they come to the partitions."""
        return {await self._status("POST", self._port, "/v1/calculation/basic") for _ in range(12)} == {200}

    async def under(self, attack: Awaitable[list[int | None]]) -> list[int | None]:
        """Return what an attack was answered, of which others and who asks for health shall notice nothing."""
        attacking = asyncio.ensure_future(attack)
        while not attacking.done():
            self.others.append(await self._status("POST", self._port, "/v1/calculation/basic"))
            self.health.append(await self._status("GET", self._health_port, "/health/live"))
        return await attacking

    @property
    def peak(self) -> int:
        """The most memory that its processes took, in bytes."""
        family = [psutil.Process(self._service.pid), *psutil.Process(self._service.pid).children(recursive=True)]
        return sum(_peak(process.pid) for process in family)

    def told(self) -> str:
        return f"others {self.others}, health {self.health}\n{self._service.log_tail()}"

    async def _status(self, method: str, port: int, path: str) -> int | None:
        """Return the answer's status on a new connection, None if there was none."""
        try:
            async with self._session.request(
                method, f"http://127.0.0.1:{port}{path}", json=SMALL if method == "POST" else None
            ) as answer:
                return answer.status
        except aiohttp.ClientError:
            return None


def _peak(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


class StartGateway(Protocol):
    async def __call__(self, bootstrap: str, budget: int = BUDGET, deadline: int = DEADLINE) -> Gateway: ...


@pytest.fixture
async def start_gateway(prefix: str, tmp_path: Path) -> AsyncIterator[StartGateway]:
    """Start a gateway that may have 256 files open."""
    few_files = ("sh", "-c", 'ulimit -n 256; exec "$@"', "sh", CALLSTREAM)
    services: list[Service] = []
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=IN_TIME)) as session:

        async def start(bootstrap: str, budget: int = BUDGET, deadline: int = DEADLINE) -> Gateway:
            env = {
                "CALLSTREAM_KAFKA__BOOTSTRAP": bootstrap,
                "CALLSTREAM_TOPICS__PREFIX": prefix,
                "CALLSTREAM_GATEWAY__IN_FLIGHT_BYTES": str(budget),
                "CALLSTREAM_GATEWAY__DEADLINE": str(deadline),
            }
            exit_code, output = await run_to_end("topics", env=env, directory=tmp_path)
            assert exit_code == 0, output
            port, health_port = free_port(), free_port()
            options = ("gateway", "--port", str(port), "--health-port", str(health_port))
            service = Service(*options, env=env, directory=tmp_path, program=few_files).start()
            services.append(service)
            await service.wait_until_ready()
            gateway = Gateway(service, port, health_port, session)
            await eventually(gateway.serves, 60, gateway.told)  # a partition may have no leader yet, though it is shown
            return gateway

        yield start
    for service in services:
        service.end()


def times(count: int, send: Callable[[], Awaitable[int | None]]) -> Awaitable[list[int | None]]:
    return asyncio.gather(*(send() for _ in range(count)))


def post(body: bytes, length: int | None = None, path: bytes = b"calculation/basic") -> list[bytes]:
    head = POST.replace(b"calculation/basic", path) + b"content-length: %d\r\n\r\n" % (length or len(body))
    return [head, *(body[at : at + 2**17] for at in range(0, len(body), 2**17))]


async def test_a_head_of_120_mib_is_refused_and_not_kept(start_gateway: StartGateway, kafka: Kafka) -> None:
    gateway = await start_gateway(kafka.bootstrap)
    endless = [HEAD + b"x: ", *([b"a" * 2**20] * 120)]
    (status,) = await gateway.under(times(1, lambda: gateway.send(endless)))
    assert status in {431, None}
    assert set(gateway.others) == {200}, gateway.told()
    assert set(gateway.health) == {200}, gateway.told()
    assert gateway.peak < MEMORY


async def test_half_heads_make_room_for_whole_requests(start_gateway: StartGateway, kafka: Kafka) -> None:
    gateway = await start_gateway(kafka.bootstrap)
    answers = await gateway.under(times(300, lambda: gateway.send([HEAD])))
    assert set(answers) <= {408, 503, None}
    assert gateway.others.count(200) > len(gateway.others) / 2, gateway.told()
    assert set(gateway.health) == {200}, gateway.told()
    assert await eventually(lambda: gateway.send([HEAD + b"\r\n"])) == 200
    assert gateway.peak < MEMORY


@pytest.mark.parametrize(
    ("half", "budget", "clients"),
    [(HALF_HEAD, 2**22, 1), (HALF_HEAD, 2**22, 2), (HALF_HEAD, 2**22, 170), (HALF_BODY, BUDGET, 170)],
    ids=["heads of one", "heads of two", "heads of many", "bodies of many"],
)
async def test_large_requests_find_room_beside_what_is_held_back(
    start_gateway: StartGateway, kafka: Kafka, half: list[bytes], budget: int, clients: int
) -> None:
    gateway = await start_gateway(kafka.bootstrap, budget, deadline=IN_TIME)
    assert await gateway.send(post(LARGE)) == 200
    held: list[asyncio.Task[int | None]] = []
    answers = []
    for _ in range(5):
        held = [sent for sent in held if not sent.done()]
        addresses = [f"127.3.0.{1 + number % clients}" for number in range(180 - len(held))]
        held += [asyncio.create_task(gateway.send(half, address)) for address in addresses]
        await eventually(lambda: any(sent.done() for sent in held))  # noqa: B023 - there is no room for all of them
        answers.append(await gateway.send(post(LARGE)))
    for sent in held:
        sent.cancel()
    await asyncio.gather(*held, return_exceptions=True)
    assert answers == [200] * 5, gateway.told()
    assert gateway.peak < MEMORY


async def test_slow_bodies_are_held_up_to_the_budget(start_gateway: StartGateway, kafka: Kafka) -> None:
    gateway = await start_gateway(kafka.bootstrap)
    slow = post(b" " * 900_000, 1_000_000)
    answers = await gateway.under(times(150, lambda: gateway.send(slow)))
    assert set(answers) <= {408, 503, None}
    assert 503 in answers
    assert set(gateway.others) == {200}, gateway.told()
    assert set(gateway.health) == {200}, gateway.told()
    assert gateway.peak < MEMORY


async def test_large_bodies_do_not_wait_inside_the_producer_uncounted(
    start_gateway: StartGateway, own_kafka: OwnKafka
) -> None:
    gateway = await start_gateway(own_kafka.bootstrap)
    own_kafka.pause()
    answers = await gateway.under(times(150, lambda: gateway.send(post(LARGEST))))
    own_kafka.resume()
    assert set(answers) <= {500, 503, None}
    assert 503 in answers
    assert set(gateway.others) <= {500, 503}, gateway.told()
    assert set(gateway.health) == {200}, gateway.told()
    assert gateway.peak < MEMORY


async def test_bodies_that_take_long_to_validate_hold_nobody_up(start_gateway: StartGateway, kafka: Kafka) -> None:
    gateway = await start_gateway(kafka.bootstrap)
    worst = post(WORST.replace(" ", "").encode(), path=b"data/from-api")
    answers = await gateway.under(times(5, lambda: gateway.send(worst)))
    assert set(answers) <= {200, 500, 503}, "in turn, until their time is over"
    assert len(gateway.others) > 2 * len(answers), "small requests do not wait for large ones"
    assert set(gateway.others) == {200}, gateway.told()
    assert gateway.peak < MEMORY
