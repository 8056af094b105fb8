"""The whole pipeline as real processes on a real broker."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from tests.support.processes import CALLSTREAM, Service, run_to_end
from tests.support.waiting import free_port

_CONNECTIONS = 32


@dataclass
class Pipeline:
    """`gateway`, `tasks` and `callbacks`, and a client's view of them."""

    url: str
    env: Mapping[str, str]
    directory: Path
    gateway: Service
    tasks: Service
    callbacks: Service
    session: aiohttp.ClientSession
    expected: dict[str, Any] = field(default_factory=dict)

    @property
    def prefix(self) -> str:
        return self.env.get("CALLSTREAM_TOPICS__PREFIX", "")

    async def committed(self, name: str) -> dict[TopicPartition, OffsetAndMetadata]:
        """Return what the group of `tasks` or `callbacks` has committed."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.env["CALLSTREAM_KAFKA__BOOTSTRAP"])
        await admin.start()
        try:
            offsets: dict[TopicPartition, OffsetAndMetadata] = await admin.list_consumer_group_offsets(
                f"{self.prefix}callstream-{name}"
            )
        finally:
            await admin.close()
        return offsets

    async def results_committed(self, count: int) -> bool:
        """Return whether `callbacks` has committed as many records of `task.results`."""
        topic = f"{self.prefix}task.results"
        offsets = await self.committed("callbacks")
        return bool(sum(found.offset for partition, found in offsets.items() if partition.topic == topic) == count)

    @asynccontextmanager
    async def another(self, name: str) -> AsyncIterator[Service]:
        """Run one more of the processes, ready to share the work."""
        with Service(name, env=self.env, directory=self.directory) as service:
            await service.wait_until_ready()
            yield service

    async def submit(self, number: float, callback_url: str) -> str:
        """Submit one calculation, again until it is accepted; return its task_id."""
        item = {"name": "sum", "num_1": number, "num_2": 0.5, "operation": "+", "result_rounding": 2}
        body = {"callback_url": callback_url, "message": [item]}
        while True:
            try:
                async with self.session.post(f"{self.url}/v1/calculation/basic", json=body) as answer:
                    if answer.status == 200:
                        task_id: str = (await answer.json())["task_id"]
                        self.expected[task_id] = [{"sum": number + 0.5}]
                        return task_id
                    assert answer.status in {500, 503}, await answer.text()
            except (aiohttp.ClientError, TimeoutError):
                pass  # the gateway was killed; this job was not accepted
            await asyncio.sleep(0.05)

    async def submit_many(self, numbers: Iterable[int], callback_url: str) -> None:
        """Submit a calculation for each of `numbers`, over several connections."""
        left = iter(numbers)

        async def client() -> None:
            for number in left:
                await self.submit(number, callback_url)

        await asyncio.gather(*(client() for _ in range(_CONNECTIONS)))

    def lost(self, bodies: Mapping[str, Any]) -> set[str]:
        """Return the accepted tasks without a callback."""
        return self.expected.keys() - bodies.keys()

    def wrong(self, bodies: Mapping[str, Any]) -> list[str]:
        """Return the accepted tasks whose callback does not say what it should."""
        return [
            task_id
            for task_id, results in self.expected.items()
            if task_id in bodies and bodies[task_id] != {"results": results, "errors": [], "task_id": task_id}
        ]


@asynccontextmanager
async def pipeline_on(
    bootstrap: str, directory: Path, env: Mapping[str, str], callbacks_program: Sequence[str] = (CALLSTREAM,)
) -> AsyncIterator[Pipeline]:
    """Run every service; `callbacks_program` may stand in for `callstream` where it runs `callbacks`."""
    env = {
        "CALLSTREAM_KAFKA__BOOTSTRAP": bootstrap,
        "CALLSTREAM_KAFKA__SESSION_TIMEOUT": "6",
        "CALLSTREAM_EGRESS__ALLOW": "127.0.0.0/8",
        **env,
    }
    exit_code, output = await run_to_end("topics", env=env, directory=directory)
    assert exit_code == 0, output
    port = free_port()
    async with AsyncExitStack() as stack:
        gateway = stack.enter_context(Service("gateway", "--port", str(port), env=env, directory=directory))
        tasks = stack.enter_context(Service("tasks", env=env, directory=directory))
        callbacks = stack.enter_context(Service("callbacks", env=env, directory=directory, program=callbacks_program))
        await asyncio.gather(*(service.wait_until_ready() for service in (gateway, tasks, callbacks)))
        session = await stack.enter_async_context(
            aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=10), connector=aiohttp.TCPConnector(limit=_CONNECTIONS)
            )
        )
        yield Pipeline(f"http://127.0.0.1:{port}", env, directory, gateway, tasks, callbacks, session)
