"""Whether a process makes progress by itself, whatever the broker does: an orchestrator restarts it by this."""

import asyncio
from datetime import timedelta

from stream_app.kafka_app import KafkaApp
from stream_app.output import patience
from stream_app.workload import Workload

_ANSWER = 5.0  # seconds in which the consumer's thread must answer
_COMMIT = 60.0  # seconds; each is given up long before (kafka_commits.py)


class Liveness:
    """Watches `app` and `workload`, whose records may take as long as `work` and then be written."""

    def __init__(self, app: KafkaApp, workload: Workload, work: timedelta, request_timeout: timedelta) -> None:
        self._app = app
        self._workload = workload
        self._longest = (work + patience(request_timeout)).total_seconds()

    async def trouble(self) -> str | None:
        """Return what does not go on; a loop that is stuck says so by giving no answer at all."""
        age = self._workload.oldest
        if age > self._longest:
            return f"a record has been under way for {age:.0f} s, and none takes more than {self._longest:.0f} s"
        if (seconds := self._app.committing) > _COMMIT:
            return f"a commit has been under way for {seconds:.0f} s"
        try:
            async with asyncio.timeout(_ANSWER):
                await self._app.ping()
        except TimeoutError:
            return "the consumer's thread does not answer"
        return None
