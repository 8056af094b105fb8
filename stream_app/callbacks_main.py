"""The composition root of `callstream callbacks`."""

import sys

from callstream.runtime.http import open_transport
from callstream.runtime.settings import Settings
from stream_app.callback_agent import CallbackAgent
from stream_app.delivery import HttpDelivery
from stream_app.kafka_app import KafkaApp
from stream_app.output import Output
from stream_app.service import Ending, run_loop, serve
from stream_app.workload import Workload


def run(settings: Settings) -> None:
    """Deliver results until SIGTERM or Ctrl-C."""

    async def compose() -> int:
        ending = Ending()
        app = KafkaApp(settings, "callbacks", settings.callbacks.drain)
        async with open_transport(settings.callbacks.in_flight) as transport:
            delivery = HttpDelivery(transport, settings.callbacks.deadline)
            agent = CallbackAgent(settings, delivery, Output(app))
            limits = settings.callbacks
            workload = Workload(
                agent.process, span=limits.window, in_flight=limits.in_flight, flow=app, fail=ending.fail
            )
            app.read(agent.sources, workload)
            topics = [*agent.sources, *settings.topic_names.dead_letters]
            return await serve(app, ending, "callbacks", settings, topics)

    sys.exit(run_loop(compose))
