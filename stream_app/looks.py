"""How often those who wait for a receiver that is away may look whether it is back: each look is a record written.

Pure: `now` is in seconds of one monotonic clock.
"""

_WITHIN = 30.0  # seconds; whoever may, looks about once in so many
_MOST = 10_000  # looks of one process by small ones, as many by middling ones, and by large ones
_MOST_BYTES = 16 * 2**20  # likewise, but small ones have the bytes that so many can take
# Bytes; what is larger is counted apart, for a few such of strangers would take all looks. A result of a few items is
# small, with the headers that it waits with, and with what these take in memory.
_SMALL = 4 * 1024
_MIDDLING = 16 * 1024
_SHARE = 4  # of what is left, one in so many is for one receiver
_SELDOM = 200  # looks at one receiver
_FEW = 10  # looks that every receiver has, however many there are
_FEW_BYTES = 64 * 1024


class Looks:
    """Counts the looks of the last half minute, of each receiver and of all; the others have to wait for longer.

    A receiver may have a share of what all have left, so that one for whom very many wait leaves some to others.
    """

    def __init__(self) -> None:
        self._since = 0.0
        self._sizes = _counts()

    def may_look(self, receiver: str, size: int, now: float) -> bool:
        """Return whether one more, of `size` bytes, may look again soon; that counts as a look."""
        self._forget(now)
        return self._sizes[(size > _SMALL) + (size > _MIDDLING)].may_add(receiver, size)

    def seldom(self, receiver: str, now: float) -> bool:
        """Return whether so few look at the receiver that one more may look again at once."""
        self._forget(now)
        return sum(counts.looks_of(receiver) for counts in self._sizes) < _SELDOM

    def _forget(self, now: float) -> None:
        if now - self._since > _WITHIN:
            self._since, self._sizes = now, _counts()


class _Counts:
    """Looks and their bytes, of all and of each receiver."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._all = (0, 0)
        self._each: dict[str, tuple[int, int]] = {}

    def looks_of(self, receiver: str) -> int:
        return self._each.get(receiver, (0, 0))[0]

    def may_add(self, receiver: str, size: int) -> bool:
        """Return whether there is room for one more, and count it where there is."""
        looks, held = self._each.get(receiver, (0, 0))
        looks, held = looks + 1, held + size
        if not (looks <= _FEW and held <= _FEW_BYTES) and (
            looks * _SHARE > _MOST - self._all[0] or held * _SHARE > self._most_bytes - self._all[1]
        ):
            return False
        self._each[receiver] = looks, held
        self._all = self._all[0] + 1, self._all[1] + size
        return True


def _counts() -> tuple[_Counts, _Counts, _Counts]:
    return _Counts(_MOST * _SMALL), _Counts(_MOST_BYTES), _Counts(_MOST_BYTES)
