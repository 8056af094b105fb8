"""Which receivers are remembered: a bounded number, and those that answered well longer than those that never did."""

from collections import OrderedDict
from collections.abc import Iterator

from stream_app.receiver import Receiver

_PASSED_OVER = 10  # at a time, so that no call takes long


class Acquaintances:
    """Receivers by key, the least recently used forgotten first: up to `most` that proved good, and as many others.

    So whoever names ever other receivers, and none that answers, makes nobody new again who is not.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._others: OrderedDict[str, Receiver] = OrderedDict()
        self._good: OrderedDict[str, Receiver] = OrderedDict()

    def __iter__(self) -> Iterator[Receiver]:
        yield from self._good.values()
        yield from self._others.values()

    def get(self, key: str) -> Receiver | None:
        return self._good.get(key) or self._others.get(key)

    def use(self, key: str) -> Receiver | None:
        """Return the receiver, which is the one that was used last then."""
        for known in (self._good, self._others):
            if (receiver := known.get(key)) is not None:
                known.move_to_end(key)
                return receiver
        return None

    def add(self, receiver: Receiver) -> None:
        """Remember one more, and forget another where there are too many; those that are in use are passed over."""
        self._others[receiver.key] = receiver
        for key, oldest in self._too_many(self._others):
            if oldest.delivered:
                self._good[key] = oldest
            elif not oldest.idle:
                self._others[key] = oldest
        for key, oldest in self._too_many(self._good):
            if not oldest.idle:
                self._good[key] = oldest

    def _too_many(self, known: OrderedDict[str, Receiver]) -> Iterator[tuple[str, Receiver]]:
        """Take the least recently used out, one after another, for as long as there are too many."""
        for _ in range(_PASSED_OVER):
            if len(known) <= self._most:
                return
            yield known.popitem(last=False)
