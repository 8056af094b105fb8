"""The composition root of `callstream callbacks`."""

import socket
from datetime import timedelta

from callstream.contract.signature import Signer
from callstream.runtime.egress import EgressGuard
from callstream.runtime.http import open_transport
from callstream.runtime.settings import Settings
from callstream.sharing.room import Room, Size
from stream_app.callback_agent import CallbackAgent
from stream_app.delivery import HttpDelivery
from stream_app.ending import Ending, run_to_the_end
from stream_app.gaps import Gaps
from stream_app.kafka_app import KafkaApp
from stream_app.output import Output
from stream_app.policy import Policy
from stream_app.receivers import LONGEST_QUEUED, Limits, Receivers
from stream_app.service import Plan, serve
from stream_app.suspects import Suspects
from stream_app.workload import Workload

# Nobody waits for what is produced here, and a request to the broker costs more than what is in it.
_LINGER = timedelta(milliseconds=10)
# Of the results among which one may have killed the process, so many are tried at once: receivers that hang must not
# make each of them take an attempt's deadline.


def run(settings: Settings, health: socket.socket | None) -> None:
    """Deliver results until SIGTERM or Ctrl-C; serve health on `health`, if given."""
    own = settings.callbacks

    async def compose(ending: Ending) -> None:
        app = KafkaApp(settings, "callbacks", own.drain, _LINGER)
        async with open_transport(own.in_flight, EgressGuard(settings.egress)) as transport:
            output = Output(app, settings.sizes.dead_letter)
            agent = CallbackAgent(
                settings,
                HttpDelivery(transport, own.deadline),
                Signer(own.secrets, own.host_secrets),
                Receivers(limits_of(settings)),
                output,
                ends=app.end,
            )

            suspects = Suspects(
                agent.process,
                agent.refuse,
                app.save,
                standing_by=lambda: workload.standing_by(),  # noqa: PLW0108 - it is made below
                go_on=lambda partition: workload.go_on(partition),  # noqa: PLW0108 - likewise
            )
            workload = Workload(
                Gaps(suspects.process, output, settings.topic_names.task_dead_letters).process,
                span=own.window,
                # What is tried again does not stand before what is new, nor the other way round.
                room=Room(Size(own.in_flight, own.in_flight_bytes), lanes=2),
                lane=settings.topic_names.is_retry,
                flow=app,
                fail=ending.fail,
                alone=suspects.alone,
                wake=lambda record: agent.wake(record) if record.gap is None else 0.0,
            )
            topics = [*agent.sources, settings.topic_names.attempts, *settings.topic_names.dead_letters]

            def read(there: set[str]) -> None:
                # Tiers of an earlier schedule too: what still waits there must not wait for ever.
                tiers = {topic for topic in there if settings.topic_names.is_retry(topic)}
                app.read(sorted(tiers.union(agent.sources)), workload, suspects)

            work = LONGEST_QUEUED + own.deadline
            await serve(app, workload, ending, settings, Plan("callbacks", topics, read, work, health))

    run_to_the_end("callbacks", own.drain, compose)


def limits_of(settings: Settings) -> Limits:
    """Return what holds for the receivers of one process."""
    own = settings.callbacks
    return Limits(
        in_flight=own.receiver_in_flight,
        queue=own.receiver_queue,
        # The other half is for what is read, parked and told, so that nobody waits for that.
        total=own.in_flight // 2,
        size=own.in_flight_bytes // 2,
        largest=settings.sizes.tier,
        failures=own.breaker_failures,
        pauses=Policy(own.schedule, own.retry_after_cap).pauses,
    )
