"""The composition root of `callstream tasks`."""

import socket

from callstream.runtime.connections import WORST
from callstream.runtime.egress import EgressGuard
from callstream.runtime.http import open_client
from callstream.runtime.settings import Settings, Tasks
from callstream.sharing.room import Room, Size
from callstream.tasks import TaskContext, load_tasks
from callstream.tasks.executors import open_executors
from stream_app.ending import Ending, run_to_the_end
from stream_app.gaps import Gaps
from stream_app.kafka_app import KafkaApp
from stream_app.output import Output
from stream_app.service import Plan, serve
from stream_app.suspects import Suspects
from stream_app.task_agent import TaskAgent
from stream_app.workload import Workload


def connections(limits: Tasks) -> int:
    """Return how many connections fetches may have: at their worst they take as much memory as the answers may."""
    return max(1, min(limits.in_flight, limits.answer_bytes // WORST))


def run(settings: Settings, health: socket.socket | None) -> None:
    """Process requests until SIGTERM or Ctrl-C; serve health on `health`, if given.

    Raises:
        RegistryError: the installed task types do not fit together.
    """
    tasks = load_tasks()

    async def compose(ending: Ending) -> None:
        app = KafkaApp(settings, "tasks", settings.tasks.drain)
        limits = settings.tasks
        async with (
            open_client(connections(limits), EgressGuard(settings.egress)) as http,
            open_executors(limits.threads, limits.processes, tasks.values()) as executors,
        ):
            context = TaskContext(http, limits.fetch_limit)
            output = Output(app, settings.sizes.dead_letter)
            agent = TaskAgent(settings, tasks, context, executors, output)
            suspects = Suspects(
                agent.process,
                agent.refuse,
                app.save,
                standing_by=lambda: workload.standing_by(),  # noqa: PLW0108 - it is made below
                go_on=lambda partition: workload.go_on(partition),  # noqa: PLW0108 - likewise
            )
            workload = Workload(
                Gaps(suspects.process, output, settings.topic_names.task_dead_letters).process,
                span=limits.window,
                room=Room(Size(limits.in_flight, limits.in_flight_bytes), lanes=len(tasks)),
                flow=app,
                fail=ending.fail,
                alone=suspects.alone,
            )
            topics = [*agent.sources, settings.topic_names.results, *settings.topic_names.dead_letters]
            work = settings.task_delay + limits.deadline

            def read(_: set[str]) -> None:
                app.read(agent.sources, workload, suspects)

            # A task type whose topic is missing keeps no other from its work.
            plan = Plan("tasks", topics, read, work, health, sources=frozenset(agent.sources))
            await serve(app, workload, ending, settings, plan)

    run_to_the_end("tasks", settings.tasks.drain, compose)
