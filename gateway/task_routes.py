"""A POST route a task type, made from the registry."""

import asyncio
import re
import time
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Annotated, Any

from fastapi import Body, FastAPI, Header, Request, Response
from fastapi.routing import APIRoute
from pydantic import AwareDatetime

from callstream.contract.headers import HeaderError, event_headers
from callstream.contract.ids import keyed_task_id, new_task_id
from callstream.contract.messages import Accepted, JobResponseStructure
from callstream.contract.propagation import trace_context
from callstream.contract.records import Headers, OutgoingRecord
from callstream.contract.retries import DEADLINE_HEADER, deadline_of
from callstream.contract.topics import Topics
from callstream.runtime.logs import get_logger
from callstream.runtime.settings import Settings
from callstream.tasks import Task, Tasks
from gateway.body import MARGIN, read_body
from gateway.connections import client_name
from gateway.idempotency import Keys, OtherBodyError
from gateway.problems import ProblemError, ValidationProblem, problem_responses, wrong_header
from gateway.publisher import OutcomeUnknownError, Publisher, RefusedError, TooLargeError
from gateway.validation import Validator

log = get_logger()
_EXAMPLE_CALLBACK = "http://127.0.0.1:8001/test-me"
_DEADLINE = "callback-deadline"
_KEY = "idempotency-key"
_KEY_LIMIT = 255  # characters
_KEY_FORM = re.compile(f"[!-~]{{1,{_KEY_LIMIT}}}")


def add_task_routes(app: FastAPI, settings: Settings, tasks: Tasks, publisher: Publisher, validator: Validator) -> None:
    intake = Intake(settings, publisher, validator)
    # First, as a router asks one route after another, and no path of a task is one of the others'.
    app.router.routes[:0] = [TaskRoute(task, intake) for task in tasks.values()]


class Intake:
    """Validates a request's bytes, stores those very bytes, and answers."""

    def __init__(self, settings: Settings, publisher: Publisher, validator: Validator) -> None:
        self._topics: Topics = settings.topic_names
        self._deadline = settings.gateway.deadline.total_seconds()
        self._limit = settings.gateway.body_limit
        self._publisher = publisher
        self._validator = validator
        self._keys = Keys(settings.gateway.idempotency_ttl.total_seconds(), time.monotonic)

    async def take(self, task: Task, request: Request) -> Response:
        """Answer 200 when the broker holds the request.

        Raises:
            ProblemError, ValidationProblem: the answer is another one.
        """
        began = time.perf_counter()
        by = asyncio.get_running_loop().time() + self._deadline * MARGIN
        body = await read_body(request, self._limit, by)
        client = client_name(request.client)
        await self._validator.validate(task, body, client, by)
        key = _idempotency_key(request)
        task_id = new_task_id() if key is None else keyed_task_id(task.path, key)
        record = self._record(task, task_id, body, _passed_on(request))
        stored = await self._store(record, client, key, by)
        event = "request.accepted" if stored else "request.repeated"
        log.info(event, task_id=task_id, task=task.name, ms=round((time.perf_counter() - began) * 1000, 1))
        accepted = Accepted(task_id=task_id, async_job_response_structure=JobResponseStructure(task_id=task_id))
        return Response(accepted.model_dump_json(), media_type="application/json")

    def _record(self, task: Task, task_id: str, body: bytes, passed_on: Headers) -> OutgoingRecord:
        headers = event_headers(task_id, f"{task.name}.requested", "gateway", passed_on)
        return OutgoingRecord(self._topics.requests(task.name), task_id.encode(), body, headers)

    async def _store(self, record: OutgoingRecord, client: str, key: str | None, by: float) -> bool:
        """Return whether the record is a new one, and not stored under its key before."""
        task_id = (record.key or b"").decode()
        publish = partial(self._publisher.publish, record, client, by)
        try:
            if key is not None:
                return await self._keys.store_once(task_id, record.value or b"", publish, by)
            await publish()
        except RefusedError as error:
            log.warning("request.refused", task_id=task_id, reason=str(error))
            raise ProblemError(503, f"nothing was stored: {error}", retry_after=error.retry_after) from error
        except TooLargeError as error:
            raise ProblemError(413, f"nothing was stored: {error}") from error
        except OutcomeUnknownError as error:
            log.warning("request.outcome-unknown", task_id=task_id, reason=str(error))
            detail = f"it is unknown whether the request was stored: {error}"
            raise ProblemError(500, detail, task_id=task_id) from error
        except OtherBodyError:
            raise _wrong_key("came before with another body", key or "") from None
        return True


class TaskRoute(APIRoute):
    """A route that FastAPI documents by the task's model, while the intake reads the body.

    FastAPI would parse the body by itself, with other rules than the agents have, and what it accepted could then be
    unreadable to them.
    """

    def __init__(self, task: Task, intake: Intake) -> None:
        self._task = task
        self._intake = intake
        example = {"callback_url": _EXAMPLE_CALLBACK, "message": task.example}
        super().__init__(
            task.path,
            _documented(task, example),
            methods=["POST"],
            name=task.name,
            summary=task.summary,
            response_model=Accepted,
            responses=problem_responses(408, 413, 500, 503),
        )

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        async def handle(request: Request) -> Response:
            return await self._intake.take(self._task, request)

        return handle


def _documented(task: Task, example: Mapping[str, object]) -> Callable[..., None]:
    """Return a signature for OpenAPI; it is not called, so what may be absent need not be None."""
    examples = {task.name: {"value": example}} if task.example else None

    def signature(body: object, key: object = None, deadline: object = None) -> None: ...

    signature.__annotations__["key"] = Annotated[
        str,
        Header(
            alias="Idempotency-Key",
            min_length=1,
            max_length=_KEY_LIMIT,
            pattern="^[!-~]*$",
            description="The same key gives the same task_id, so that a retried request is the same task.",
        ),
    ]
    signature.__annotations__["deadline"] = Annotated[
        AwareDatetime,
        Header(alias="Callback-Deadline", description="After this time no callback is attempted; with an offset."),
    ]
    signature.__annotations__["body"] = Annotated[task.body, Body(openapi_examples=examples)]  # type: ignore[arg-type]
    return signature


def _passed_on(request: Request) -> Headers:
    """Return what goes with the record: trace context, and the time after which no callback shall come."""
    sent: Headers = tuple((name.decode("latin-1"), value) for name, value in request.scope["headers"])
    deadline = tuple((DEADLINE_HEADER, value) for name, value in sent if name == _DEADLINE)
    try:
        deadline_of(deadline)
    except HeaderError as error:
        raise wrong_header(_DEADLINE, request.headers[_DEADLINE], str(error)) from None
    return (*trace_context(sent), *deadline)


def _idempotency_key(request: Request) -> str | None:
    keys = request.headers.getlist(_KEY)
    if not keys:
        return None
    if len(keys) > 1:
        raise _wrong_key("must be there once", ", ".join(keys))
    if not _KEY_FORM.fullmatch(keys[0]):
        raise _wrong_key(f"must be 1 to {_KEY_LIMIT} visible ASCII characters", keys[0])
    return keys[0]


def _wrong_key(text: str, value: str) -> ValidationProblem:
    return wrong_header(_KEY, value, text)
