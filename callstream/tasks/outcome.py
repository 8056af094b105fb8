"""What becomes of one item, wherever its handler runs: a value, or a text that says why there is none."""

import asyncio
import inspect
import math
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

from pydantic import JsonValue, TypeAdapter, ValidationError

from callstream.contract.messages import Item
from callstream.contract.raw_json import RawJson, to_json, without_collection
from callstream.contract.sizes import cut
from callstream.tasks.registry import TaskError

_json: TypeAdapter[JsonValue] = TypeAdapter(JsonValue)


class Failed(NamedTuple):
    text: str


def failure(error: BaseException) -> Failed:
    """Return what the receiver reads of `error`; never raises, though to read one may run code of its own."""
    try:
        if isinstance(error, TaskError):
            text = str(error)
        elif isinstance(error, asyncio.CancelledError):
            text = "the work was cancelled"
        else:
            text = traceback.format_exception_only(error)[-1].strip()
        return Failed(cut(text))  # which may repeat what a foreign server answered, or hold what UTF-8 does not have
    except BaseException:  # noqa: BLE001 - likewise
        return Failed("an error whose text cannot be read")


def as_json(value: object) -> RawJson | Failed:
    """Return what an item came to as JSON, if JSON has it."""
    if isinstance(value, Failed | RawJson):
        return value
    if type(value) is float and math.isfinite(value):
        return RawJson(repr(value).encode())  # as the encoder writes it, which takes ten times as long
    try:
        with without_collection():
            return RawJson(to_json(_json.validate_python(value)))
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False, include_input=False)[0]["msg"]
    except ValueError as error:
        problem = str(error)
    return failure(TaskError(f"the result is not JSON: {problem}"))


def json_outcome(handler: Callable[..., Any], item: Item) -> Any:  # noqa: ANN401 - what is awaited is whatever it is
    """Return the outcome as JSON, except where it is still to be awaited; nothing that is raised goes further."""
    try:
        value = handler(item)
        return value if inspect.isawaitable(value) else as_json(value)
    except BaseException as error:  # noqa: BLE001 - a handler's bug, SystemExit included, is its item's and not the thread's
        return failure(error)
