"""Names the hosts of fetches that fail, so that an operator can tell which API hangs."""

import re

import structlog

from callstream.contract.messages import Item
from callstream.contract.sizes import cut
from callstream.tasks.outcome import Failed
from callstream.tasks.registry import Task

_HOSTS = 10  # of a task, which may have 1,000
_NAME = 100  # characters of an item's name
_WHAT = 100  # characters
# Our own words, and the one for what happened to the connection. What a library or a server says behind them may repeat
# the whole URL, with the secrets in it.
_OURS = re.compile(r"""((?! ['"])[^:])*(: \w+(?=:|$))?""")

log = structlog.get_logger()


class Failures:
    """Tells of one task's fetches that fail: the first of each host, and of no more than so many hosts."""

    def __init__(self, task: Task, task_id: str) -> None:
        self._fetches_from = task.fetches_from
        self._task_id = task_id
        self._told: set[str] = set()

    def tell(self, item: Item, outcome: Failed, seconds: float) -> None:
        """Log that `item` failed after so many seconds, where it is the first of a host."""
        if self._fetches_from is None or len(self._told) >= _HOSTS:
            return
        host = self._fetches_from(item)
        if not host or host in self._told:
            return
        self._told.add(host)
        found = _OURS.match(outcome.text)
        what = cut(found[0].strip() if found else "", _WHAT)
        name = cut(item.name, _NAME)
        log.info("fetch.failed", task_id=self._task_id, item=name, host=host, what=what, seconds=round(seconds, 1))
