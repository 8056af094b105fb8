"""How often those who wait for a receiver that is away may look whether it is back: each look is a record written.

Pure: `now` is in seconds of one monotonic clock.
"""

_WITHIN = 30.0  # seconds; whoever may, looks about once in so many
_MOST = 10_000  # looks of one process
_MOST_BYTES = 16 * 2**20
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
        self._all = (0, 0)
        self._each: dict[str, tuple[int, int]] = {}

    def may_look(self, receiver: str, size: int, now: float) -> bool:
        """Return whether one more, of `size` bytes, may look again soon; that counts as a look."""
        self._forget(now)
        looks, held = self._each.get(receiver, (0, 0))
        looks, held = looks + 1, held + size
        if not (looks <= _FEW and held <= _FEW_BYTES) and (
            looks * _SHARE > _MOST - self._all[0] or held * _SHARE > _MOST_BYTES - self._all[1]
        ):
            return False
        self._each[receiver] = looks, held
        self._all = self._all[0] + 1, self._all[1] + size
        return True

    def seldom(self, receiver: str, now: float) -> bool:
        """Return whether so few look at the receiver that one more may look again at once."""
        self._forget(now)
        return self._each.get(receiver, (0, 0))[0] < _SELDOM

    def _forget(self, now: float) -> None:
        if now - self._since > _WITHIN:
            self._since, self._all, self._each = now, (0, 0), {}
