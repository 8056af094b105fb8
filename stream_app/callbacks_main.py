"""The composition root of `callstream callbacks`."""

import sys
from datetime import UTC, datetime

from callstream.contract.signature import Signer
from callstream.runtime.egress import EgressGuard
from callstream.runtime.http import open_transport
from callstream.runtime.settings import Settings
from stream_app.callback_agent import CallbackAgent
from stream_app.delivery import HttpDelivery
from stream_app.kafka_app import KafkaApp
from stream_app.output import Output
from stream_app.policy import Policy
from stream_app.receivers import Limits, Receivers
from stream_app.service import Ending, run_loop, serve
from stream_app.workload import Workload


def run(settings: Settings) -> None:
    """Deliver results until SIGTERM or Ctrl-C."""
    own = settings.callbacks

    async def compose() -> int:
        ending = Ending()
        app = KafkaApp(settings, "callbacks", own.drain)
        async with open_transport(own.in_flight, EgressGuard(settings.egress)) as transport:
            agent = CallbackAgent(
                settings,
                HttpDelivery(transport, own.deadline),
                Signer(own.secrets, own.host_secrets),
                Receivers(_limits(settings), lambda: datetime.now(UTC)),
                Output(app),
            )
            workload = Workload(
                agent.process, span=own.window, in_flight=own.in_flight, flow=app, fail=ending.fail, wake=agent.wake
            )
            app.read(agent.sources, workload)
            topics = [*agent.sources, settings.topic_names.attempts, *settings.topic_names.dead_letters]
            return await serve(app, ending, "callbacks", settings, topics)

    sys.exit(run_loop(compose))


def _limits(settings: Settings) -> Limits:
    own = settings.callbacks
    return Limits(
        in_flight=own.receiver_in_flight,
        queue=own.receiver_queue,
        total=own.in_flight,
        failures=own.breaker_failures,
        pauses=Policy(own.schedule, own.retry_after_cap).pauses,
    )
