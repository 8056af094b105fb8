"""How many bytes of requests a process may hold, reserved before they are kept."""

from collections import Counter
from typing import Protocol

SMALL = 64 * 1024  # bytes; what every body may have, however many large ones are under way
_KEPT_FOR_SMALL = 8  # one part in as many
_TIMES_FREE = 4  # what a client may hold, for each byte that is left free: four fifths alone, four ninths each of two


class Holder(Protocol):
    """One whose body arrives."""

    def give_up(self) -> None:
        """Release what it holds."""


class Budget:
    """Counts bytes that are held, of `most`, by client; a part of them is for small bodies alone.

    Whoever holds more than a small body already leaves that part free, so that a few who send much do not shut out
    the many who send little. No client holds more than some times what is free (dynamic thresholds, by which switches
    share their buffers): one alone has nearly all, and another still finds room beside it, at once.

    Where no room is left, a body gives up that has not arrived: of the client that holds most the one that began last,
    or of one's own. If all that arrive at once were refused when they meet the limit, none of them would be taken.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._most_for_large = most - most // _KEPT_FOR_SMALL
        self._held = 0
        self._of_client: Counter[str] = Counter()
        self._arriving: dict[str, dict[Holder, None]] = {}  # of each client, in the order in which they began

    @property
    def held(self) -> int:
        return self._held

    def reserve(self, client: str, size: int, whole: int) -> bool:
        """Return whether `client` may hold `size` more bytes; what it reserves them for then has `whole`."""
        free = (self._most if whole <= SMALL else self._most_for_large) - self._held - size
        if self._of_client[client] + size > _TIMES_FREE * free:
            return False
        self._held += size
        self._of_client[client] += size
        return True

    def reserve_for_body(self, client: str, size: int, whole: int, holder: Holder) -> bool:
        """Do the same for a part of `holder`'s body; others that have not arrived give up for it."""
        while not self.reserve(client, size, whole):
            owner = self._heaviest(client)
            last = next(reversed(self._arriving.get(owner, {})), holder)
            if last is holder:
                return False
            self.arrived(owner, last)
            last.give_up()
        return True

    def arrives(self, client: str, holder: Holder) -> None:
        """Note that more of the body is to come than its first part."""
        self._arriving.setdefault(client, {})[holder] = None

    def arrived(self, client: str, holder: Holder) -> None:
        """Note that no more is to come: what is held may be needed until it is released."""
        own = self._arriving.get(client, {})
        own.pop(holder, None)
        if not own:
            self._arriving.pop(client, None)

    def release(self, client: str, size: int) -> None:
        self._held -= size
        self._of_client[client] -= size
        if not self._of_client[client]:
            del self._of_client[client]

    def _heaviest(self, client: str) -> str:
        """Return who holds most, of those whose bodies arrive and `client`."""
        return max([client, *self._arriving], key=self._of_client.__getitem__)
