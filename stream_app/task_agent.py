"""The task agent: a request becomes a result, or a dead letter; it never raises for what a record brings."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import msgspec

from callstream.contract.dead_letters import Reason
from callstream.contract.headers import HeaderError, event_headers, readable_task_id, task_id_of
from callstream.contract.items import PackedItems
from callstream.contract.messages import Item
from callstream.contract.propagation import passed_on
from callstream.contract.records import OutgoingRecord, Record
from callstream.contract.results import WrittenResult, WrittenTimes, error_entry, raw
from callstream.contract.retries import deadline_of
from callstream.contract.sizes import cut
from callstream.contract.topics import Topics
from callstream.runtime.logs import get_logger
from callstream.runtime.settings import Settings
from callstream.tasks import Task, TaskContext, Tasks
from callstream.tasks.budget import Budget
from callstream.tasks.executors import Executors
from callstream.tasks.run import Entries, Limits, run_items
from callstream.tasks.turns import LoopTurns
from stream_app.output import Output, ProduceError, RecordTooLargeError
from stream_app.reading import UnreadableError, address_of, read

log = get_logger()
_SOON_READ = 16 * 1024  # bytes of a request that is read in a millisecond or two, whatever they are
_FEW = 16  # items that are kept as what they were read as; they are soon under way, and are not read twice


class TaskAgent:
    """Runs tasks of the types that it is given."""

    def __init__(
        self, settings: Settings, tasks: Tasks, context: TaskContext, executors: Executors, output: Output
    ) -> None:
        topics: Topics = settings.topic_names
        self._tasks = {topics.requests(name): task for name, task in tasks.items()}
        self._topics = topics
        self._body_limit = settings.gateway.body_limit
        self._item_limit = settings.gateway.item_limit
        self._delay = settings.task_delay.total_seconds()
        own = settings.tasks
        self._limits = Limits(own.item_concurrency, own.item_deadline, own.deadline, settings.sizes.result)
        self._answers = Budget(own.answer_bytes, len(tasks), own.in_flight)
        self._reading = LoopTurns()
        self._turns = {name: LoopTurns() for name in tasks}
        self._context = context
        self._executors = executors
        self._output = output

    @property
    def sources(self) -> list[str]:
        """The topics to read."""
        return list(self._tasks)

    async def process(self, record: Record) -> None:
        """Return when the record's result, or its dead letter, is durable.

        Raises:
            ProduceError: neither can be written.
        """
        # Whatever went wrong is refused here, where its error and all that this holds on to are gone.
        refusal = await self._refusal(record)
        if refusal:
            await self.refuse(record, *refusal)

    async def _refusal(self, record: Record) -> tuple[Reason, str] | None:
        """Return why the record is to be put aside, or nothing if its result is durable."""
        try:
            await self._process(record)
        except ProduceError:
            raise
        except UnreadableError as error:
            return error.reason, str(error)
        except Exception as error:
            log.exception("task.failed", task=record.partition.topic, offset=record.offset)
            return Reason.INTERNAL_ERROR, f"an error of ours: {type(error).__name__}"
        return None

    async def _process(self, record: Record) -> None:
        task = self._tasks[record.partition.topic]
        started = datetime.now(UTC)
        if self._delay:
            await asyncio.sleep(self._delay)  # before it is read: what waits is kept as it came
        if (size := len(record.value or b"")) <= _SOON_READ:
            task_id, callback_url, items = self._read(record, task)
        else:
            async with self._reading.turn(task.name, size):
                task_id, callback_url, items = self._read(record, task)
        with self._answers.share(task.name) as answers:
            context = replace(self._context, answers=answers, turns=self._turns[task.name], task_id=task_id)
            entries = await run_items(task, items, context, self._limits, self._executors)
            result = _result(record, task_id, task, callback_url, entries, started)
            await self._write(record, result, items, too_large=entries.too_large)
        log.info("task.processed", task_id=task_id, task=task.name, items=len(items))

    async def refuse(self, record: Record, reason: Reason, error: str) -> None:
        """Put the record aside, and let its result say so, except where its `callback_url` cannot be read or used."""
        letter = self._output.dead_letter(record, self._topics.task_dead_letters, reason, error)
        # What its process died of again and again must not be done once more, to put it aside.
        address = address_of(record, 0 if reason is Reason.CRASHED else self._body_limit)
        if address is None:
            await letter
            return
        entries = Entries([], [error_entry("request", cut(error))])
        task = self._tasks[record.partition.topic]
        result = _result(record, readable_task_id(record), task, address.callback_url, entries, datetime.now(UTC))
        await asyncio.gather(letter, self._output.write(self._record(record, result)))

    def _read(self, record: Record, task: Task) -> tuple[str, str | None, Sequence[Item]]:
        """Return the task's id, its `callback_url` and its items, which are all valid."""
        try:
            deadline_of(record.headers)
            task_id = task_id_of(record)
        except HeaderError as error:
            raise UnreadableError(Reason.UNREADABLE, str(error)) from error
        request = read(record, task.request, self._body_limit, self._item_limit)
        items: Sequence[Item] = request.message
        if len(items) > _FEW:
            items = PackedItems(task.request, record.value or b"")
        return task_id, request.callback_url, items

    async def _write(self, record: Record, result: WrittenResult, items: Sequence[Item], *, too_large: bool) -> None:
        if not too_large:
            try:
                await self._output.write(self._record(record, result))
            except RecordTooLargeError:
                pass
            else:
                return
        errors = raw(error_entry(item.name, "the results of this task are too large to be sent") for item in items)
        short = msgspec.structs.replace(result, results=[], errors=errors)
        try:
            await self._output.write(self._record(record, short))
        except RecordTooLargeError as error:
            raise UnreadableError(Reason.TOO_LARGE, f"the task's result: {error}") from error

    def _record(self, record: Record, result: WrittenResult) -> OutgoingRecord:
        headers = event_headers(result.task_id, f"{result.task}.finished", "tasks", passed_on(record.headers))
        return OutgoingRecord(self._topics.results, result.task_id.encode(), result.json(), headers)


def _result(  # noqa: PLR0913, PLR0917 - its parts
    record: Record, task_id: str, task: Task, callback_url: str | None, entries: Entries, started: datetime
) -> WrittenResult:
    times = WrittenTimes(_received(record, started), started, datetime.now(UTC))
    return WrittenResult(task_id, task.name, callback_url, raw(entries.results), raw(entries.errors), times)


def _received(record: Record, started: datetime) -> datetime:
    """Return when the record was stored; some producers set a time that no calendar has."""
    try:
        return datetime.fromtimestamp(record.timestamp, UTC)
    except (OverflowError, ValueError, OSError):
        return started
