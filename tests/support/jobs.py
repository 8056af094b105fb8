"""Calculations that a test submits, and what must become of each."""

import asyncio
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import aiohttp
from aiokafka.partitioner import DefaultPartitioner

from callstream.contract.ids import keyed_task_id

_CONNECTIONS = 32
_PATH = "/v1/calculation/basic"


def open_session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=10), connector=aiohttp.TCPConnector(limit=_CONNECTIONS)
    )


@dataclass(kw_only=True)
class Jobs:
    """A client of the gateway at `url`; `expected` holds the results of every job that it accepted."""

    url: str
    session: aiohttp.ClientSession
    expected: dict[str, Any] = field(default_factory=dict)

    async def submit(self, number: float, callback_url: str, headers: Mapping[str, str] | None = None) -> str:
        """Submit one calculation, again until it is accepted; return its task_id."""
        item = {"name": "sum", "num_1": number, "num_2": 0.5, "operation": "+", "result_rounding": 2}
        body = {"callback_url": callback_url, "message": [item]}
        while True:
            try:
                async with self.session.post(f"{self.url}{_PATH}", json=body, headers=headers) as answer:
                    if answer.status == 200:
                        task_id: str = (await answer.json())["task_id"]
                        self.expected[task_id] = [{"sum": number + 0.5}]
                        return task_id
                    assert answer.status in {500, 503}, await answer.text()
            except (aiohttp.ClientError, TimeoutError):
                pass  # the gateway was killed; this job was not accepted
            await asyncio.sleep(0.05)

    async def submit_to(self, partition: int, of: int, number: float, callback_url: str) -> str:
        """Submit one calculation that goes into this partition of each topic, of so many; return its task_id."""
        partitions, partitioner = list(range(of)), DefaultPartitioner()
        keys = (uuid4().hex for _ in itertools.count())
        key = next(key for key in keys if partitioner(keyed_task_id(_PATH, key).encode(), partitions, []) == partition)
        return await self.submit(number, callback_url, {"Idempotency-Key": key})

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
