"""Reads a record's value as a message, or says why it cannot be read."""

from typing import TypeVar

import msgspec
from pydantic import BaseModel, ValidationError

from callstream.contract.dead_letters import Reason
from callstream.contract.items import check_density
from callstream.contract.messages import CallbackUrl
from callstream.contract.records import Record
from callstream.contract.sizes import cut
from callstream.contract.validation import first_errors
from callstream.tasks.requests import read_request

MessageT = TypeVar("MessageT", bound=BaseModel)
_SHOWN = 5  # validation errors named in a dead letter


class UnreadableError(Exception):
    """A record cannot be read; `reason` is for machines, the text for people."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Address(BaseModel):
    """Who is to hear of a record: the receiver at `callback_url`, or whoever reads the results."""

    callback_url: CallbackUrl | None = None


class _Address(msgspec.Struct):
    callback_url: str | None = None


_decoder = msgspec.json.Decoder(_Address)


def address_of(record: Record, most: int) -> Address | None:
    """Return the address of a record that may be wrong in all other ways, if that much can be read.

    Of a value with more than `most` bytes nothing else is built: inflated it may take hundreds of megabytes.
    """
    value = record.value or b""
    try:
        return Address(callback_url=_decoder.decode(value).callback_url)  # and nothing of the rest is built
    except ValidationError:
        return None
    except (ValueError, RecursionError):
        if len(value) > most:
            return None
    try:  # what msgspec does not read may yet be what pydantic does: NaN, wherever it stands
        check_density(value)
        return Address.model_validate_json(value)
    except ValidationError:
        return None


def read(record: Record, model: type[MessageT], limit: int, item_limit: int) -> MessageT:
    """Return the message in `record`, whose value may have `limit` bytes and `item_limit` items.

    Raises:
        UnreadableError: there is no value, it is too large, or it is not what `model` describes.
    """
    if record.value is None:
        raise UnreadableError(Reason.UNREADABLE, "the record has no value")
    if len(record.value) > limit:
        raise UnreadableError(Reason.TOO_LARGE, f"the value has {len(record.value)} bytes; {limit} are allowed")
    try:
        return read_request(model, record.value, item_limit)
    except ValidationError as error:
        text = _told(error)
    raise UnreadableError(Reason.UNREADABLE, text)  # not from the error, which holds on to all that is wrong


def _told(error: ValidationError) -> str:
    details = first_errors(error, _SHOWN)
    shown = [f"{'.'.join(map(str, detail['loc'])) or 'value'}: {detail['msg']}" for detail in details]
    more = error.error_count() - _SHOWN
    if len(details) == _SHOWN and more:
        shown.append(f"and {more} more")
    return cut("; ".join(shown))
