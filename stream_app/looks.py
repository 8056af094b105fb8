"""How often those who wait for a receiver that is away may look whether it is back: each look is a record written.

Pure: `now` is in seconds of one monotonic clock.
"""

_WITHIN = 30.0  # seconds; whoever may, looks about once in so many
_SMALL = 16 * 1024  # bytes; what is larger is counted apart, for a few such of strangers would take all looks
_MOST = 10_000  # looks of one process by small ones, and as many by larger ones
_MOST_BYTES = 16 * 2**20  # likewise
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
        self._sizes = _Counts(), _Counts()

    def may_look(self, receiver: str, size: int, now: float) -> bool:
        """Return whether one more, of `size` bytes, may look again soon; that counts as a look."""
        self._forget(now)
        return self._sizes[size > _SMALL].may_add(receiver, size)

    def seldom(self, receiver: str, now: float) -> bool:
        """Return whether so few look at the receiver that one more may look again at once."""
        self._forget(now)
        return sum(counts.looks_of(receiver) for counts in self._sizes) < _SELDOM

    def _forget(self, now: float) -> None:
        if now - self._since > _WITHIN:
            self._since, self._sizes = now, (_Counts(), _Counts())


class _Counts:
    """Looks and their bytes, of all and of each receiver."""

    def __init__(self) -> None:
        self._all = (0, 0)
        self._each: dict[str, tuple[int, int]] = {}

    def looks_of(self, receiver: str) -> int:
        return self._each.get(receiver, (0, 0))[0]

    def may_add(self, receiver: str, size: int) -> bool:
        """Return whether there is room for one more, and count it where there is."""
        looks, held = self._each.get(receiver, (0, 0))
        looks, held = looks + 1, held + size
        if not (looks <= _FEW and held <= _FEW_BYTES) and (
            looks * _SHARE > _MOST - self._all[0] or held * _SHARE > _MOST_BYTES - self._all[1]
        ):
            return False
        self._each[receiver] = looks, held
        self._all = self._all[0] + 1, self._all[1] + size
        return True
