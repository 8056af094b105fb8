"""What is wrong with a body."""

from pydantic import ValidationError

from callstream.tasks import Task
from callstream.tasks.requests import read_request
from gateway.problems import errors_json


def body_errors(task: Task, body: bytes, item_limit: int) -> bytes:
    """Return what is wrong with a body of `task`, in FastAPI's form as JSON; nothing if it is right."""
    try:
        read_request(task.body, body, item_limit)
    except ValidationError as error:
        return errors_json(error)
    return b""
