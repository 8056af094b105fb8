"""A request's items as the JSON that came: counted before any is built, and kept so for as long as they wait."""

from array import array
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Generic, TypeVar, overload

import msgspec
import pydantic_core
from pydantic_core import PydanticCustomError

from callstream.contract.messages import Item, TaskRequest
from callstream.contract.raw_json import without_collection, without_strings
from callstream.contract.validation import request_error

ItemT = TypeVar("ItemT", bound=Item)


class _Raw(msgspec.Struct):
    message: list[msgspec.Raw]


_decoder = msgspec.json.Decoder(_Raw)
_ANY = 1_000  # arrays and objects, which are no matter whatever the size


def check_density(body: bytes) -> None:
    """Return if arrays and objects are not so many in `body` that to read it takes a hundred times its size.

    Raises:
        ValidationError: more than a third of its bytes begin one, and more than a thousand.
    """
    most = max(_ANY, len(body) // 3)
    if _opened(body) > most and (found := _opened(without_strings(body))) > most:
        text = "Value should have at most {most} arrays and objects, a third of its bytes, and not {found}"
        raise request_error(PydanticCustomError("too_dense", text, {"most": most, "found": found}))


def _opened(body: bytes) -> int:
    return len(body) - len(body.translate(None, b"[{"))


def check_item_count(body: bytes, limit: int) -> None:
    """Return if the request in `body` has at most `limit` items, or is none that could be counted.

    Raises:
        ValidationError: it has more; as pydantic says it of a list.
    """
    found = len(_items(body))
    if found > limit:
        raise request_error("too_long", "message", field_type="List", max_length=limit, actual_length=found)


class PackedItems(Sequence[ItemT], Generic[ItemT]):
    """The items of the valid request in `body`, each read anew, as the request reads them, whenever it is asked for.

    As models they take thirty times as much; so only those have it that are under way.
    """

    __slots__ = ("_data", "_ends", "_request")

    def __init__(self, request: type[TaskRequest[ItemT]], body: bytes) -> None:
        items = [bytes(item) for item in _items(body)]
        self._request = request
        self._data = b"".join(items)
        self._ends = array("L", accumulate(map(len, items), initial=0))

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> ItemT: ...
    @overload
    def __getitem__(self, index: slice) -> list[ItemT]: ...
    def __getitem__(self, index: int | slice) -> ItemT | list[ItemT]:
        if isinstance(index, slice):
            return [self[number] for number in range(len(self))[index]]
        index = range(len(self))[index]
        return self._build(self._ends[index], self._ends[index + 1])

    def __iter__(self) -> Iterator[ItemT]:
        return (self._build(start, end) for start, end in pairwise(self._ends))

    def _build(self, start: int, end: int) -> ItemT:
        return self._request.model_validate_json(b'{"message":[%b]}' % self._data[start:end]).message[0]


def _items(body: bytes) -> Sequence[bytes | msgspec.Raw]:
    """Return the items as JSON; none where `body` is no request, of which its model says better what is wrong."""
    try:
        return _decoder.decode(body).message
    except (ValueError, RecursionError):
        pass
    # What it does not read may yet be what pydantic does: NaN, wherever it stands.
    with without_collection():
        try:
            found = pydantic_core.from_json(body)
        except ValueError:
            return ()
        items = found.get("message") if isinstance(found, dict) else None
        if not isinstance(items, list):
            return ()
        return [pydantic_core.to_json(item, inf_nan_mode="constants") for item in items]
