"""Reads a request, whatever the validators of its task type's model do."""

from typing import TypeVar

import structlog
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticCustomError

from callstream.contract.items import check_density, check_item_count
from callstream.contract.raw_json import without_collection
from callstream.contract.validation import request_error
from callstream.tasks.outcome import failure

RequestT = TypeVar("RequestT", bound=BaseModel)

log = structlog.get_logger()


def read_request(model: type[RequestT], body: bytes, item_limit: int) -> RequestT:
    """Return the request in `body`, which may have `item_limit` items.

    Raises:
        ValidationError: it is none, or a validator of the model raised what pydantic takes for no answer.
        MemoryError: there is not enough for it.
    """
    try:
        check_density(body)
        check_item_count(body, item_limit)
        with without_collection():
            return model.model_validate_json(body)
    except (ValidationError, MemoryError):
        raise
    except BaseException as error:  # SystemExit included, which would end the process
        log.error("validator.failed", model=model.__name__, exc_info=error)  # noqa: TRY400 - whichever it is
        text = failure(error).text
    raise request_error(PydanticCustomError("validator_failed", "{text}", {"text": text}))
