"""One `Idempotency-Key` at several gateways, and at one that was restarted."""

import asyncio
from pathlib import Path

import aiohttp
from aiokafka import AIOKafkaConsumer

from callstream.contract.ids import keyed_task_id
from tests.conftest import StartService
from tests.support.kafka import Kafka
from tests.support.processes import Service, run_to_end
from tests.support.waiting import free_port

PATH = "/v1/calculation/basic"
ITEM = {"name": "sum", "num_1": 1, "num_2": 2, "operation": "+", "result_rounding": 0}
REQUEST = {"callback_url": "http://receiver.example/", "message": [ITEM]}


async def test_a_key_is_stored_once_by_each_gateway_and_once_more_after_a_restart_as_the_same_task(
    start_service: StartService, kafka: Kafka, prefix: str, tmp_path: Path
) -> None:
    env = {
        "CALLSTREAM_KAFKA__BOOTSTRAP": kafka.bootstrap,
        "CALLSTREAM_TOPICS__PREFIX": prefix,
        "CALLSTREAM_TOPICS__PARTITIONS": "1",
    }
    exit_code, output = await run_to_end("topics", env=env, directory=tmp_path)
    assert exit_code == 0, output
    gateways: dict[int, Service] = {}
    for port in (free_port(), free_port()):
        gateways[port] = start_service("gateway", "--port", str(port), env=env)
    await asyncio.gather(*(gateway.wait_until_ready() for gateway in gateways.values()))
    first, second = gateways
    answers = [await post(port) for port in (first, second, first, second)]
    gateways[first].kill()
    gateways[first].start()
    await gateways[first].wait_until_ready()
    answers += [await post(first) for _ in range(2)]
    task_id = keyed_task_id(PATH, "k-1")
    assert answers == [(200, task_id)] * 6
    assert await stored(kafka.bootstrap, f"{prefix}calculation.requests") == [task_id] * 3


async def post(port: int) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session,
        session.post(f"http://127.0.0.1:{port}{PATH}", json=REQUEST, headers={"Idempotency-Key": "k-1"}) as answer,
    ):
        return answer.status, (await answer.json())["task_id"]


async def stored(bootstrap: str, topic: str) -> list[str]:
    """Return the task_id of every record that `topic` holds by now."""
    async with (
        asyncio.timeout(20),
        AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest") as consumer,
    ):
        (partition,) = consumer.assignment()
        count = (await consumer.end_offsets([partition]))[partition]
        return [dict((await consumer.getone()).headers)["ce_id"].decode() for _ in range(count)]
