"""How many bytes of requests a process may hold, reserved before they are kept."""

from collections import Counter
from dataclasses import dataclass
from typing import Protocol

SMALL = 64 * 1024  # bytes; what every body may have, however many large ones are under way
_KEPT_FOR_SMALL = 8  # one part in as many
_TIMES_FREE = 4  # what a client may hold, for each byte that is left free: four fifths alone, four ninths each of two
_HEAVY = 8  # one part in as many; who holds more is a party of its own
_OTHERS = "the others"  # the party of all who are not heavy
_STEP = 8  # one part in as many; what arrives makes progress when that much more of it has come
_LEAST_STEP = 4 * 1024  # bytes


class Holder(Protocol):
    """One whose request arrives, head or body."""

    def give_up(self) -> None:
        """Release what it holds."""


@dataclass(eq=False, slots=True)
class _Arriving:
    client: str
    holder: Holder
    held: int = 0  # bytes
    next_step: int = 0  # how many it holds when it makes progress again


class Budget:
    """Counts bytes that are held, of `most`, by client; a part of them is for small bodies alone.

    Whoever holds more than a small body already leaves that part free, so that a few who send much do not shut out
    the many who send little. No client holds more than some times what is free (dynamic thresholds, by which switches
    share their buffers): one alone has nearly all, and another still finds room beside it, at once.

    Where no room is left, a request gives up that has not arrived whole. First it is said whose: each client that is
    heavy is a party, all others together are one, and the party that holds most gives up. So neither a few who hold
    much nor very many who hold little shut out the rest. Of its requests goes the one that has made no progress for
    longest. Who holds something back is that one sooner or later, also where it comes drop by drop; to be ahead of one
    that is sent it would have to come as fast.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._most_for_large = most - most // _KEPT_FOR_SMALL
        self._held = 0
        self._of_client: Counter[str] = Counter()
        self._heavy: set[str] = set()  # clients
        self._arriving_of_client: Counter[str] = Counter()  # the part of it that arrives
        self._arriving: dict[Holder, _Arriving] = {}  # who made progress last is the last

    @property
    def held(self) -> int:
        return self._held

    def reserve(self, client: str, size: int, whole: int) -> bool:
        """Return whether `client` may hold `size` more bytes for what is there; what they are of has `whole`.

        Others that have not arrived give up for it.
        """
        return self._reserve(client, size, whole, None)

    def reserve_arriving(self, client: str, size: int, whole: int, holder: Holder) -> bool:
        """Do the same for a part of `holder`'s request, of which more may come, and which may be the one to give up."""
        arriving = self._arriving.setdefault(holder, _Arriving(client, holder))
        if arriving.held + size >= arriving.next_step:
            self._arriving[holder] = self._arriving.pop(holder)
            arriving.next_step = arriving.held + size + max((arriving.held + size) // _STEP, _LEAST_STEP)
        if not self._reserve(client, size, whole, arriving):
            return False
        arriving.held += size
        self._arriving_of_client[client] += size
        return True

    def arrived(self, holder: Holder) -> None:
        """Note that no more is to come: what is held may be needed until it is released."""
        arriving = self._arriving.pop(holder, None)
        if arriving is not None:
            self._arriving_of_client[arriving.client] -= arriving.held
            if not self._arriving_of_client[arriving.client]:
                del self._arriving_of_client[arriving.client]

    def release(self, client: str, size: int) -> None:
        self._change(client, -size)

    def _reserve(self, client: str, size: int, whole: int, arriving: _Arriving | None) -> bool:
        if not self._has_room(client, size, whole) and not self._could_have_room(client, size, whole, arriving):
            return False  # whoever gave up would do so for nothing
        while not self._has_room(client, size, whole):
            first = self._who_gives_up(client)
            if first is arriving or first is None:
                return False
            self.arrived(first.holder)
            first.holder.give_up()
        self._change(client, size)
        return True

    def _has_room(self, client: str, size: int, whole: int) -> bool:
        return self._fits(self._of_client[client] + size, self._held + size, whole)

    def _could_have_room(self, client: str, size: int, whole: int, arriving: _Arriving | None) -> bool:
        """Return whether there would be room if all gave up that arrive, but for `arriving`."""
        size += arriving.held if arriving is not None else 0
        own = self._of_client[client] - self._arriving_of_client[client]
        return self._fits(own + size, self._held - self._arriving_of_client.total() + size, whole)

    def _fits(self, of_client: int, of_all: int, whole: int) -> bool:
        free = (self._most if whole <= SMALL else self._most_for_large) - of_all
        return of_client <= _TIMES_FREE * free

    def _who_gives_up(self, client: str) -> _Arriving | None:
        """Return who gives up for `client`; None if it is the heaviest party itself, and nothing of it arrives."""
        heavy = {name: self._of_client[name] for name in self._heavy}
        parties = [(held, name) for name, held in heavy.items()] + [(self._held - sum(heavy.values()), _OTHERS)]
        for _, party in sorted(parties, reverse=True):
            first = self._first_of(party)
            if first is not None or party == client:
                return first
        return None

    def _first_of(self, party: str) -> _Arriving | None:
        for arriving in self._arriving.values():
            if (arriving.client if arriving.client in self._heavy else _OTHERS) == party:
                return arriving
        return None

    def _change(self, client: str, size: int) -> None:
        self._held += size
        self._of_client[client] += size
        held = self._of_client[client]
        if held > self._most // _HEAVY:
            self._heavy.add(client)
        else:
            self._heavy.discard(client)
            if not held:
                del self._of_client[client]
