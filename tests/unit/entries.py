"""What the items of a task came to, read again."""

import json
from typing import Any, NamedTuple

from callstream.tasks import run


class Entries(NamedTuple):
    results: list[dict[str, Any]]
    errors: list[dict[str, Any]]


def read_again(entries: run.Entries) -> Entries:
    assert not entries.too_large
    return Entries(
        [json.loads(entry) for entry in entries.results],
        [json.loads(entry) for entry in entries.errors],
    )
