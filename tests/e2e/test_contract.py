"""What the services really write is what the published contract says."""

import json
from pathlib import Path

import aiohttp
import pytest
import yaml
from aiokafka import AIOKafkaProducer, ConsumerRecord

from tests.support.contract import Contract
from tests.support.kafka import Kafka
from tests.support.pipeline import Pipeline
from tests.support.processes import run_to_end
from tests.support.receiver import Receiver, receiving
from tests.support.topics import content
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")


def written_by_us(record: ConsumerRecord) -> bool:
    """Return whether it was not put there by the test: our records name their source, dead letters their reason."""
    return not {"ce_source", "dead_letter_reason"}.isdisjoint(name for name, _ in record.headers)


async def drive(pipeline: Pipeline, bootstrap: str, receiver: Receiver, refusing: Receiver) -> None:
    """Bring about a good task of each type, callbacks that fail and are replayed, and records that cannot be read."""
    data = {"callback_url": receiver.url, "message": [{"name": "none", "url": "http://169.254.169.254/"}]}
    async with pipeline.session.post(f"{pipeline.url}/v1/data/from-api", json=data) as answer:
        assert answer.status == 200
    headers = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    body = {"callback_url": refusing.url, "message": []}
    async with pipeline.session.post(f"{pipeline.url}/v1/calculation/basic", json=body, headers=headers) as answer:
        assert answer.status == 200
    await pipeline.submit(1, receiver.url)
    wrong = json.dumps({"callback_url": receiver.url, "message": 1}).encode()
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        for value, headers_of_it in ((b"\xff{", []), (None, [("ce_id", b"\x00")]), (wrong, [("mine", b"\xfe")])):
            topic = f"{pipeline.prefix}calculation.requests"
            await producer.send_and_wait(topic, value, b"key", headers=headers_of_it)


async def published(session: aiohttp.ClientSession, url: str) -> Contract:
    async with session.get(f"{url}/asyncapi.yaml") as answer:
        assert answer.status == 200
        return Contract(yaml.safe_load(await answer.text()))


async def test_every_record_of_every_topic_is_as_the_gateway_publishes(
    pipeline: Pipeline, kafka: Kafka, receiver: Receiver, tmp_path: Path
) -> None:
    contract = await published(pipeline.session, pipeline.url)

    async def records() -> list[ConsumerRecord]:
        found = await content(kafka.bootstrap, *contract.topics)
        ours = [record for record in found if written_by_us(record)]
        return ours if {record.topic for record in ours} == set(contract.topics) else []

    async with receiving() as refusing:
        refusing.statuses = lambda: 500
        await drive(pipeline, kafka.bootstrap, receiver, refusing)
        await eventually(records, 30, pipeline.callbacks.log_tail)
        replay = ("dead-letters", "replay", "--receiver", refusing.url)
        exit_code, output = await run_to_end(*replay, env=pipeline.env, directory=tmp_path)
        assert (exit_code, output.startswith("replayed 1,")) == (0, True), output
    found = await records()
    sources = {dict(record.headers).get("ce_source") for record in found}
    assert sources >= {f"/callstream/{name}".encode() for name in ("gateway", "tasks", "callbacks", "dead-letters")}
    complaints = [
        f"{record.topic}@{record.offset}: {complaint}"
        for record in found
        for complaint in contract.complaints(record.topic, record.key, record.value, record.headers)
    ]
    assert complaints == []
