"""Examples of the messages, made by their models so that they are right."""

from datetime import datetime
from typing import Any

from callstream.contract.headers import TASK_ID_EXAMPLE, TIME_EXAMPLE
from callstream.contract.messages import CallbackAttempt, TaskResult, Times, result_digest
from callstream.contract.schemas import ATTEMPT, CALLBACK_DEAD_LETTER, RESULT, WAITING, TaskType

_CALLBACK_URL = "http://127.0.0.1:8001/test-me"
_TIME = datetime.fromisoformat(TIME_EXAMPLE)
_TASK_RESULT = TaskResult(
    task_id=TASK_ID_EXAMPLE,
    task="calculation",
    callback_url=_CALLBACK_URL,
    results=[{"calc_0": 123.76}],
    errors=[{"calc_1": "division by zero"}],
    times=Times(received=_TIME, started=_TIME, finished=_TIME),
)
_RESULT = _TASK_RESULT.model_dump(mode="json")
_ATTEMPT = CallbackAttempt(
    task_id=TASK_ID_EXAMPLE,
    number=1,
    receiver="http://127.0.0.1:8001",
    outcome="failed",
    status=500,
    detail="the receiver answered 500",
    started=_TIME,
    duration_ms=12,
    next_due=_TIME,
    result_digest=result_digest(_TASK_RESULT.model_dump_json().encode()),
).model_dump(mode="json")

VALUES = {
    RESULT.name: _RESULT,
    WAITING.name: _RESULT,
    ATTEMPT.name: _ATTEMPT,
    CALLBACK_DEAD_LETTER.name: _RESULT,
}


def request(task: TaskType) -> dict[str, Any] | None:
    """Return a request's value, or None where the task type brings no example."""
    if not task.example:
        return None
    return {"callback_url": _CALLBACK_URL, "message": [dict(item) for item in task.example]}
