"""The gateway on a real broker that stops, hangs and comes back."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from aiokafka import AIOKafkaConsumer

from tests.conftest import StartService
from tests.support.kafka import Kafka, OwnKafka, create_topics
from tests.support.processes import Service, alive, run_to_end
from tests.support.waiting import eventually, free_port

ITEM = {"name": "sum", "num_1": 1, "num_2": 2, "operation": "+", "result_rounding": 0}
REQUEST = {"callback_url": "http://receiver.example/", "message": [ITEM]}
IN_TIME = 5  # seconds: the contract's
TOPIC = "calculation.requests"


class Gateway:
    """A gateway and a client of it, which gives every request the time that the contract promises."""

    def __init__(self, service: Service, port: int, session: aiohttp.ClientSession, sent: list[str]) -> None:
        self.service = service
        self.sent = sent  # the bodies' requests, each when its last byte had gone
        self.url = f"http://127.0.0.1:{port}"
        self._session = session

    async def post(self, name: str = "sum", items: int = 1) -> tuple[int, dict[str, Any], str | None]:
        """Return status, body and Retry-After of a valid request."""
        request = REQUEST | {"message": [ITEM | {"name": name}] * items}
        async with self._session.post(f"{self.url}/v1/calculation/basic", json=request) as answer:
            return answer.status, await answer.json(content_type=None), answer.headers.get("retry-after")

    async def status(self, path: str) -> int:
        async with self._session.get(self.url + path) as answer:
            return answer.status

    async def is_ready(self) -> bool:
        return await self.status("/health/ready") == 200


@pytest.fixture
def sent() -> list[str]:
    return []


@pytest.fixture
async def session(sent: list[str]) -> AsyncIterator[aiohttp.ClientSession]:
    trace = aiohttp.TraceConfig()

    async def note(_: object, __: object, chunk: aiohttp.TraceRequestChunkSentParams) -> None:
        sent.append(str(chunk.url))

    trace.on_request_chunk_sent.append(note)
    timeout = aiohttp.ClientTimeout(total=IN_TIME)
    async with aiohttp.ClientSession(timeout=timeout, trace_configs=[trace]) as session:
        yield session


class StartGateway:
    def __init__(
        self, start_service: StartService, directory: Path, session: aiohttp.ClientSession, sent: list[str]
    ) -> None:
        self._start_service = start_service
        self._directory = directory
        self._session = session
        self._sent = sent

    async def __call__(
        self, bootstrap: str, *options: str, topics: bool = True, ready: bool = True, **env: str
    ) -> Gateway:
        env = {"CALLSTREAM_KAFKA__BOOTSTRAP": bootstrap, **env}
        if topics:
            exit_code, output = await run_to_end("topics", env=env, directory=self._directory)
            assert exit_code == 0, output
        port = free_port()
        service = self._start_service("gateway", "--port", str(port), *options, env=env)
        await eventually(lambda: "gateway.listening" in service.read_log(), 120, service.log_tail)
        if ready:
            await service.wait_until_ready()
        return Gateway(service, port, self._session, self._sent)


@pytest.fixture
def start_gateway(
    start_service: StartService, tmp_path: Path, session: aiohttp.ClientSession, sent: list[str]
) -> StartGateway:
    return StartGateway(start_service, tmp_path, session, sent)


async def stored(bootstrap: str, topic: str, wanted: set[str]) -> set[str]:
    """Read until every `wanted` task was found; return all that were."""
    found: set[str] = set()
    async with (
        asyncio.timeout(20),
        AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest") as consumer,
    ):
        while not wanted <= found:
            found.add(dict((await consumer.getone()).headers)["ce_id"].decode())
    return found


async def test_a_200_means_that_the_broker_holds_the_record(
    start_gateway: StartGateway, kafka: Kafka, prefix: str
) -> None:
    gateway = await start_gateway(kafka.bootstrap, CALLSTREAM_TOPICS__PREFIX=prefix)
    answers = await asyncio.gather(*(gateway.post() for _ in range(50)))
    assert {status for status, _, _ in answers} == {200}
    await stored(kafka.bootstrap, prefix + TOPIC, {body["task_id"] for _, body, _ in answers})


async def test_a_broker_that_is_away_is_a_refusal_at_once_and_its_return_is_noticed(
    start_gateway: StartGateway, own_kafka: OwnKafka, prefix: str
) -> None:
    gateway = await start_gateway(own_kafka.bootstrap, CALLSTREAM_TOPICS__PREFIX=prefix)
    await own_kafka.stop()
    await eventually(lambda: gateway_is_unready(gateway), 20, gateway.service.log_tail)
    status, problem, retry_after = await gateway.post()
    assert (status, retry_after) == (503, "5")
    assert "nothing was stored" in problem["detail"]
    assert await gateway.status("/health/live") == 200
    await own_kafka.start()
    await eventually(gateway.is_ready, 30, gateway.service.log_tail)
    status, accepted, _ = await gateway.post()
    assert status == 200
    assert await stored(own_kafka.bootstrap, prefix + TOPIC, {accepted["task_id"]}) == {accepted["task_id"]}


async def gateway_is_unready(gateway: Gateway) -> bool:
    return not await gateway.is_ready()


async def test_a_gateway_may_start_before_its_broker(
    start_gateway: StartGateway, own_kafka: OwnKafka, prefix: str
) -> None:
    await own_kafka.stop()
    gateway = await start_gateway(own_kafka.bootstrap, topics=False, ready=False, CALLSTREAM_TOPICS__PREFIX=prefix)
    assert (await gateway.post())[0] == 503
    await own_kafka.start()
    missing = f"{prefix}calculation.requests, {prefix}data.requests"
    unprepared = f"missing topics, which `callstream topics` creates: {missing}"
    await eventually(lambda: unprepared in gateway.service.read_log(), 20, gateway.service.log_tail)
    assert unprepared in (await gateway.post())[1]["detail"]


@pytest.mark.parametrize("how", ["paused", "killed"])
async def test_a_broker_that_fails_during_requests_leaves_none_unanswered(
    start_gateway: StartGateway, own_kafka: OwnKafka, prefix: str, how: str
) -> None:
    gateway = await start_gateway(own_kafka.bootstrap, CALLSTREAM_TOPICS__PREFIX=prefix)
    before = await gateway.post()
    own_kafka.pause() if how == "paused" else own_kafka.kill()
    answers = await asyncio.gather(*(gateway.post() for _ in range(20)))
    assert {status for status, _, _ in answers} <= {500, 503}
    unknown = {problem["task_id"] for status, problem, _ in answers if status == 500}
    assert unknown, "those that were sent before the failure was known have an unknown outcome"
    status, _, retry_after = await gateway.post()
    assert (status, retry_after) == (503, "5")
    if how == "paused":
        own_kafka.resume()
    else:
        await own_kafka.start()
    known = {before[1]["task_id"]}

    async def accepts() -> bool:
        # It is ready once any topic can be served; to this one, what was sent before the failure may come first.
        status, body, _ = await gateway.post()
        assert status in {200, 500, 503}
        if status != 503:
            (known if status == 200 else unknown).add(body["task_id"])
        return status == 200

    await eventually(accepts, 60, gateway.service.log_tail)
    # Whether those were stored was not known, and nothing else may have been.
    assert await stored(own_kafka.bootstrap, prefix + TOPIC, known) <= known | unknown


async def test_a_gateway_goes_on_after_the_broker_refused_a_record(
    start_gateway: StartGateway, kafka: Kafka, prefix: str
) -> None:
    names = [f"{prefix}{task}.requests" for task in ("calculation", "data")]
    await create_topics(kafka.bootstrap, *names, max_message_bytes="10000")
    gateway = await start_gateway(kafka.bootstrap, topics=False, CALLSTREAM_TOPICS__PREFIX=prefix)
    assert (await gateway.post())[0] == 200
    assert (await gateway.post("x" * 1_000, items=20))[0] in {413, 500}

    async def accepts() -> bool:
        return (await gateway.post())[0] == 200

    await eventually(accepts, 20, gateway.service.log_tail)


async def test_what_waits_for_the_broker_is_bounded(
    start_gateway: StartGateway, own_kafka: OwnKafka, prefix: str
) -> None:
    gateway = await start_gateway(
        own_kafka.bootstrap, CALLSTREAM_GATEWAY__IN_FLIGHT="3", CALLSTREAM_TOPICS__PREFIX=prefix
    )
    own_kafka.pause()
    answers = await asyncio.gather(*(gateway.post() for _ in range(20)))
    refused = [(problem["detail"], retry_after) for status, problem, retry_after in answers if status == 503]
    assert ("nothing was stored: too many requests wait for the broker", "1") in refused
    assert sum(status == 500 for status, _, _ in answers) <= 3


async def test_a_stop_answers_what_is_under_way(start_gateway: StartGateway, own_kafka: OwnKafka, prefix: str) -> None:
    gateway = await start_gateway(own_kafka.bootstrap, CALLSTREAM_TOPICS__PREFIX=prefix)
    own_kafka.pause()
    requests = [asyncio.create_task(gateway.post()) for _ in range(5)]
    await eventually(lambda: len(gateway.sent) == len(requests))
    assert await gateway.status("/healthcheck") == 200  # so it has read what was sent before
    gateway.service.terminate()
    await eventually(lambda: not listens(gateway.service), 10, gateway.service.log_tail)
    own_kafka.resume()
    answers = await asyncio.gather(*requests)
    assert {status for status, _, _ in answers} == {200}
    assert await gateway.service.wait() == 0
    await stored(own_kafka.bootstrap, prefix + TOPIC, {body["task_id"] for _, body, _ in answers})


def listens(service: Service) -> bool:
    return any(
        connection.status == psutil.CONN_LISTEN
        for connection in psutil.Process(service.pid).net_connections(kind="tcp")
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_workers_share_a_port_and_end_with_their_parent(
    start_gateway: StartGateway, kafka: Kafka, prefix: str, number: signal.Signals
) -> None:
    gateway = await start_gateway(kafka.bootstrap, "--workers", "2", CALLSTREAM_TOPICS__PREFIX=prefix)
    family = gateway.service.with_children()
    await eventually(lambda: gateway.service.read_log().count("gateway.ready") == 2, 20, gateway.service.log_tail)
    assert (await gateway.post())[0] == 200
    psutil.Process(gateway.service.pid).send_signal(number)
    assert await gateway.service.wait() == 0
    await eventually(lambda: not any(alive(process) for process in family))


async def test_workers_of_a_killed_gateway_free_the_port(
    start_gateway: StartGateway, kafka: Kafka, prefix: str
) -> None:
    gateway = await start_gateway(kafka.bootstrap, "--workers", "2", CALLSTREAM_TOPICS__PREFIX=prefix)
    family = gateway.service.with_children()
    gateway.service.kill()
    await eventually(lambda: not any(alive(process) for process in family), 20)
    gateway.service.start()
    await eventually(lambda: gateway.service.read_log().count("gateway.ready") == 2, 20, gateway.service.log_tail)
    assert (await gateway.post())[0] == 200


async def test_a_body_that_drips_is_cut_off(start_gateway: StartGateway, kafka: Kafka, prefix: str) -> None:
    gateway = await start_gateway(kafka.bootstrap, CALLSTREAM_TOPICS__PREFIX=prefix, CALLSTREAM_GATEWAY__DEADLINE="1")
    reader, writer = await asyncio.open_connection("127.0.0.1", int(gateway.url.rpartition(":")[2]))
    head = "POST /v1/calculation/basic HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n"
    body = json.dumps(REQUEST).encode()
    writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body[:-1])
    assert b" 408 " in await asyncio.wait_for(reader.readline(), IN_TIME)
    writer.close()
    await writer.wait_closed()


async def test_a_port_in_use_is_one_line(
    start_gateway: StartGateway, kafka: Kafka, prefix: str, tmp_path: Path
) -> None:
    gateway = await start_gateway(kafka.bootstrap, CALLSTREAM_TOPICS__PREFIX=prefix)
    port = gateway.url.rpartition(":")[2]
    exit_code, output = await run_to_end("gateway", "--port", port, directory=tmp_path)
    assert exit_code == 2
    assert output.startswith(f"cannot listen on 127.0.0.1:{port}: ")
    assert output.count("\n") == 1
