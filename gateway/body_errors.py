"""What is wrong with a body."""

from pydantic import ValidationError

from callstream.contract.items import check_density, check_item_count
from callstream.tasks import Task
from gateway.problems import errors_json


def body_errors(task: Task, body: bytes, item_limit: int) -> bytes:
    """Return what is wrong with a body of `task`, in FastAPI's form as JSON; nothing if it is right."""
    try:
        check_density(body)
        check_item_count(body, item_limit)
        task.body.model_validate_json(body)
    except ValidationError as error:
        return errors_json(error)
    return b""
