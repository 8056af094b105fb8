"""`python -m tests.support.tasks_memory URL REQUESTS ITEMS SECONDS`: what a process of task agents takes at most.

It works on so many requests at once, of so many fetches of URL each, writes to a broker that takes everything, and
prints the most memory that it had, in bytes, when all are done or the time is over.
"""

import asyncio
import json
import re
import sys
from contextlib import suppress
from pathlib import Path

import uvloop

from callstream.runtime.egress import EgressGuard
from callstream.runtime.http import open_client
from callstream.runtime.settings import Settings
from callstream.tasks import TaskContext, load_tasks
from callstream.tasks.executors import open_executors
from stream_app.output import Output
from stream_app.task_agent import TaskAgent
from tests.unit.records import CALLBACK_URL, Broker, record


async def work(url: str, requests: int, items: int, seconds: float) -> None:
    settings = Settings.model_validate({"egress": {"allow": "127.0.0.0/8"}})
    message = [{"name": f"api_{number}", "url": url} for number in range(items)]
    broker = Broker()
    async with (
        open_client(settings.tasks.in_flight, EgressGuard(settings.egress)) as http,
        open_executors(1, 1) as executors,
    ):
        context = TaskContext(http, settings.tasks.fetch_limit)
        output = Output(broker, settings.sizes.dead_letter)
        agent = TaskAgent(settings, load_tasks(), context, executors, output)
        request = record({"callback_url": CALLBACK_URL, "message": message}, topic="data.requests")
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.gather(*(agent.process(request) for _ in range(requests)))
    print(json.dumps({"peak": _peak(), "written": len(broker.taken)}))  # noqa: T201 - to who started it


def _peak() -> int:
    """Return the most bytes of memory; getrusage would count those of the process that forked this one."""
    (kibibytes,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(kibibytes) * 1024


if __name__ == "__main__":
    uvloop.run(work(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))
