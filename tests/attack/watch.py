"""What becomes of our processes under attack: do they live, what do they weigh, how soon does a good job call back."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import yaml

from tests.attack.target import PARTITIONS
from tests.support.pipeline import Pipeline
from tests.support.processes import Service
from tests.support.receiver import Receiver
from tests.support.waiting import eventually

SERVICES = ("gateway", "tasks", "callbacks")
_LOOK = 0.1  # seconds between two looks at the memory
_PATIENCE = 120.0  # seconds for a probe
_ROOT = Path(__file__).parents[2]
_CHART, _RENDER = _ROOT / "helm/callstream/values.yaml", _ROOT / "tests/chart/golden/default.yaml"
_MIB = 2**20


def limits() -> dict[str, int]:
    """Return the chart's memory limit of each service, in bytes."""
    values: dict[str, Any] = yaml.safe_load(_CHART.read_text())
    return {name: int(values[name]["resources"]["limits"]["memory"].removesuffix("Mi")) * _MIB for name in SERVICES}


def budgets() -> dict[str, str]:
    """Return the settings that the chart derives from those limits, as its golden render has them."""
    return dict(re.findall(r'^  (CALLSTREAM_\w+_BYTES): "(\d+)"$', _RENDER.read_text(), re.MULTILINE))


@dataclass
class Watch:
    """`peaks` are in bytes, with the processes that a service has started; `ends` tell what ended, and how."""

    pipeline: Pipeline
    peaks: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SERVICES, 0))
    ends: list[str] = field(default_factory=list)

    @property
    def services(self) -> Mapping[str, Service]:
        return {name: getattr(self.pipeline, name) for name in SERVICES}

    def look(self) -> None:
        for name, service in self.services.items():
            with suppress(psutil.Error):
                self.peaks[name] = max(self.peaks[name], sum(map(_weight, service.with_children())))

    async def revive(self, after: str) -> bool:
        """Start again what has ended, as a supervisor does; return whether all were alive."""
        ended = {name: service for name, service in self.services.items() if not service.running}
        for name, service in ended.items():
            self.ends.append(f"{name} ended with {service.exit_code}, {after}\n{service.log_tail()}")
            service.start()
        await asyncio.gather(*(service.wait_until_ready(60) for service in ended.values()))
        return not ended

    async def probe(self, receiver: Receiver) -> list[float]:
        """Return the seconds from a good job's POST to its callback, for one in each partition."""
        called: dict[str, float] = {}
        receiver.on_call = lambda task_id: called.setdefault(task_id, time.monotonic())

        async def one(partition: int) -> float:
            began = time.monotonic()
            task_id = await self._submit(partition, receiver.url)
            await eventually(lambda: task_id in called, _PATIENCE)
            return called[task_id] - began

        return await asyncio.gather(*map(one, range(PARTITIONS)))

    async def _submit(self, partition: int, url: str) -> str:
        while True:
            with suppress(AssertionError, aiohttp.ClientError):  # it is told by how long the probe takes
                return await self.pipeline.submit_to(partition, PARTITIONS, 1, url)


def _weight(process: psutil.Process) -> int:
    with suppress(psutil.Error):
        return int(process.memory_info().rss)
    return 0


@asynccontextmanager
async def watching(pipeline: Pipeline) -> AsyncIterator[Watch]:
    watch = Watch(pipeline)

    async def go_on() -> None:
        while True:
            watch.look()
            await asyncio.sleep(_LOOK)

    looking = asyncio.create_task(go_on())
    try:
        yield watch
    finally:
        looking.cancel()
