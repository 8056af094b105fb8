"""`python -m tests.support.tasks_memory URL REQUESTS ITEMS TINY SECONDS`: what a process of task agents takes at most.

It is given so many requests at once, of so many fetches of URL each and so many of nothing behind them, begins what the
settings have room for, writes to a broker that takes everything, and prints the most memory that it had, in bytes, when
all are done or the time is over, with how many were under way at the end of it.
"""

import json
import os
import re
import sys
from contextlib import suppress
from pathlib import Path

import uvloop

from callstream.contract.records import TopicPartition
from callstream.runtime.egress import EgressGuard
from callstream.runtime.http import open_client
from callstream.runtime.settings import Settings
from callstream.sharing.room import Room, Size
from callstream.tasks import TaskContext, load_tasks
from callstream.tasks.executors import open_executors
from stream_app.output import Output
from stream_app.task_agent import TaskAgent
from stream_app.tasks_main import connections
from stream_app.workload import Workload
from tests.support.waiting import eventually
from tests.unit.records import CALLBACK_URL, Broker, record


class Reader:
    """Has read all that there is."""

    def hold(self, partition: TopicPartition) -> None: ...

    def release(self, partition: TopicPartition, again_from: int | None = None) -> None: ...


async def work(url: str, requests: int, items: int, tiny: int, seconds: float) -> None:
    settings = Settings.model_validate({"egress": {"allow": "127.0.0.0/8"}})
    limits = settings.tasks
    message = [{"name": f"api_{number}", "url": url} for number in range(items)] + [{"name": "", "url": ""}] * tiny
    value = json.dumps({"callback_url": CALLBACK_URL, "message": message}, separators=(",", ":")).encode()
    broker, tasks = Broker(), load_tasks()
    async with (
        open_client(connections(limits), EgressGuard(settings.egress)) as http,
        open_executors(1, 1, tasks.values()) as executors,
    ):
        context = TaskContext(http, settings.tasks.fetch_limit)
        output = Output(broker, settings.sizes.dead_letter)
        agent = TaskAgent(settings, tasks, context, executors, output)
        workload = Workload(
            agent.process,
            span=limits.window,
            room=Room(Size(limits.in_flight, limits.in_flight_bytes), lanes=2),
            flow=Reader(),
            fail=print,
        )
        for number in range(requests):
            workload.admit(record(bytes(bytearray(value)), topic="data.requests")._replace(offset=number))
        with suppress(AssertionError):
            await eventually(lambda: len(broker.taken) == requests, seconds)
        found = {"peak": _peak(), "written": len(broker.taken), "under_way": workload.running}
        print(json.dumps(found), flush=True)  # noqa: T201 - to who started it
        os._exit(0)  # to end each of them in good order would take longer than all of this


def _peak() -> int:
    """Return the most bytes of memory; getrusage would count those of the process that forked this one."""
    (kibibytes,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(kibibytes) * 1024


if __name__ == "__main__":
    uvloop.run(work(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5])))
