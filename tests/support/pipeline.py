"""The whole pipeline as real processes on a real broker."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from tests.support.jobs import Jobs, open_session
from tests.support.processes import CALLSTREAM, Service, run_to_end
from tests.support.waiting import free_port


@dataclass(kw_only=True)
class Pipeline(Jobs):
    """`gateway`, `tasks` and `callbacks`, and a client's view of them."""

    env: Mapping[str, str]
    directory: Path
    gateway: Service
    tasks: Service
    callbacks: Service

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
        yield Pipeline(
            url=f"http://127.0.0.1:{port}",
            session=await stack.enter_async_context(open_session()),
            env=env,
            directory=directory,
            gateway=gateway,
            tasks=tasks,
            callbacks=callbacks,
        )
