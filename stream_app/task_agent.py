"""The task agent: a request becomes a result, or a dead letter; it never raises for what a record brings."""

import asyncio
from datetime import UTC, datetime
from typing import Any

from callstream.contract.dead_letters import Reason
from callstream.contract.headers import HeaderError, event_headers, task_id_of, trace_context
from callstream.contract.messages import Entry, TaskRequest, TaskResult, Times
from callstream.contract.records import OutgoingRecord, Record
from callstream.contract.topics import Topics
from callstream.runtime.logs import get_logger
from callstream.runtime.settings import Settings
from callstream.tasks import Task, TaskContext, Tasks
from callstream.tasks.run import run_items
from stream_app.output import Output, RecordTooLargeError
from stream_app.reading import UnreadableError, read

log = get_logger()


class TaskAgent:
    """Runs tasks of the types that it is given."""

    def __init__(self, settings: Settings, tasks: Tasks, context: TaskContext, output: Output) -> None:
        topics: Topics = settings.topic_names
        self._tasks = {topics.requests(name): task for name, task in tasks.items()}
        self._topics = topics
        self._limit = settings.gateway.body_limit
        self._delay = settings.task_delay.total_seconds()
        self._settings = settings.tasks
        self._context = context
        self._output = output

    @property
    def sources(self) -> list[str]:
        """The topics to read."""
        return list(self._tasks)

    async def process(self, record: Record) -> None:
        """Return when the record's result, or its dead letter, is durable."""
        task = self._tasks[record.partition.topic]
        started = datetime.now(UTC)
        try:
            task_id, request = self._read(record, task)
        except UnreadableError as error:
            await self._output.dead_letter(record, self._topics.task_dead_letters, error.reason, str(error))
            return
        if self._delay:
            await asyncio.sleep(self._delay)
        limits = self._settings
        entries = await run_items(task, request.message, self._context, limits.item_concurrency, limits.item_deadline)
        result = TaskResult.model_construct(  # every part was validated before
            task_id=task_id,
            task=task.name,
            callback_url=request.callback_url,
            results=entries.results,
            errors=entries.errors,
            times=Times(received=_received(record, started), started=started, finished=datetime.now(UTC)),
        )
        await self._write(record, result, [item.name for item in request.message])
        log.info("task.processed", task_id=task_id, task=task.name, items=len(request.message))

    def _read(self, record: Record, task: Task) -> tuple[str, TaskRequest[Any]]:
        try:
            return task_id_of(record), read(record, task.request, self._limit)
        except HeaderError as error:
            raise UnreadableError(Reason.UNREADABLE, str(error)) from error

    async def _write(self, record: Record, result: TaskResult, names: list[str]) -> None:
        try:
            await self._output.write(self._record(record, result))
        except RecordTooLargeError:
            errors: list[Entry] = [{name: "the results of this task are too large to be sent"} for name in names]
            await self._write_short(record, result.model_copy(update={"results": [], "errors": errors}))

    async def _write_short(self, record: Record, result: TaskResult) -> None:
        try:
            await self._output.write(self._record(record, result))
        except RecordTooLargeError as error:
            topic = self._topics.task_dead_letters
            await self._output.dead_letter(record, topic, Reason.TOO_LARGE, f"the task's result: {error}")

    def _record(self, record: Record, result: TaskResult) -> OutgoingRecord:
        headers = event_headers(result.task_id, f"{result.task}.finished", "tasks", trace_context(record.headers))
        value = result.model_dump_json().encode()
        return OutgoingRecord(self._topics.results, result.task_id.encode(), value, headers)


def _received(record: Record, started: datetime) -> datetime:
    """Return when the record was stored; some producers set a time that no calendar has."""
    try:
        return datetime.fromtimestamp(record.timestamp, UTC)
    except (OverflowError, ValueError, OSError):
        return started
