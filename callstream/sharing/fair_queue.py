"""A queue in which each client has its turn, however much each one puts into it."""

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class FairQueue(Generic[T]):
    """What waits, by client: each in turn has its oldest taken, so that none waits for more than one of another.

    It iterates over the clients, the one whose turn is next first.
    """

    def __init__(self) -> None:
        self._clients: dict[str, dict[T, None]] = {}

    def __bool__(self) -> bool:
        return bool(self._clients)

    def __iter__(self) -> Iterator[str]:
        return iter(self._clients)

    def put(self, client: str, waiting: T) -> None:
        self._clients.setdefault(client, {})[waiting] = None

    def take(self, client: str | None = None) -> T:
        """Return the next, of at least one; where a client is named, which has something, its next."""
        if client is None:
            client = next(iter(self._clients))
        own = self._clients.pop(client)
        taken = next(iter(own))
        del own[taken]
        if own:
            self._clients[client] = own
        return taken

    def discard(self, client: str, waiting: T) -> None:
        """Let go of what may have been taken already."""
        own = self._clients.get(client, {})
        own.pop(waiting, None)
        if not own:
            self._clients.pop(client, None)
