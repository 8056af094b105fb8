"""How receivers share the room for callbacks, in slots and in bytes, so that those that hang fill a part of it alone.

Pure: what is asked here is answered at once. Docs: docs/decisions/0015-room-is-shared-by-how-long-it-is-held.md.
"""

from collections.abc import Iterable
from enum import Enum

from stream_app.ties import Kin, Tie


class Kind(Enum):
    """What is expected of a receiver: each kind has a part of the room that the others leave to it."""

    QUICK = "quick"  # it answers soon
    NEW = "new"  # it never answered yet
    SLOW = "slow"  # it holds what it gets


_LEAST = {Kind.QUICK: 4, Kind.NEW: 8, Kind.SLOW: 8}  # the part that is left to a kind: one in so many
_MOST = {Kind.QUICK: 1, Kind.NEW: 2, Kind.SLOW: 2}  # the most that a kind may have while the others do not need it
# What is tied may hold so many times what it leaves free for others of its kind, so that there is always something free
# (dynamic thresholds: Choudhury and Hahne, 1998). The part that is left to the kind is not counted as free: there each
# has next to nothing, so that hundreds who come at once find some of it. An address bounds no quick ones: many good
# receivers share one.
_WEIGHTS = {
    (Kind.QUICK, Kin.RECEIVER): 2.0,
    (Kind.NEW, Kin.RECEIVER): 1.0,
    (Kind.NEW, Kin.DOMAIN): 1.0,
    (Kind.NEW, Kin.ADDRESS): 1.0,
    (Kind.SLOW, Kin.RECEIVER): 0.25,
    (Kind.SLOW, Kin.DOMAIN): 1.0,
    (Kind.SLOW, Kin.ADDRESS): 1.0,
}
_CROWD = 64  # of what is left of a kind's own part, one in so many is for one receiver, domain or address


class Share:
    """The room that one callback holds."""

    __slots__ = ("kind", "size", "ties")

    def __init__(self, kind: Kind, ties: tuple[Tie, ...], size: int) -> None:
        self.kind = kind
        self.ties = ties
        self.size = size


class Shares:
    """Room for `slots` callbacks with `size` bytes in all; every kind finds its own part of both free of the others."""

    def __init__(self, slots: int, size: int) -> None:
        self._slots = _Measure(slots)
        self._bytes = _Measure(size)
        self._largest = max(1, min(self._bytes.least.values()))

    def claim(self, kind: Kind, ties: Iterable[Tie], size: int) -> Share | None:
        """Return room for a callback of `size` bytes, to be given back; None if there is none for it.

        One that is larger than the smallest part counts as just that large, so that every size finds room.
        """
        share = Share(kind, tuple(ties), min(size, self._largest))
        return share if self._enter(share) else None

    def move(self, share: Share, kind: Kind) -> bool:
        """Count a share as of another kind; return False, and leave it, if that has no room."""
        before = share.kind
        self.give_back(share)
        share.kind = kind
        if self._enter(share):
            return True
        share.kind = before
        self._change(share, 1)
        return False

    def tie(self, share: Share, tie: Tie) -> bool:
        """Count a share among what is tied so as well; return False, and leave it, if that holds enough already."""
        if tie in share.ties:
            return True
        self.give_back(share)
        before, share.ties = share.ties, (*share.ties, tie)
        if self._enter(share):
            return True
        share.ties = before
        self._change(share, 1)
        return False

    def give_back(self, share: Share) -> None:
        self._change(share, -1)

    def held(self, kind: Kind) -> tuple[int, int]:
        """Return the slots and the bytes that a kind holds."""
        return self._slots.used[kind], self._bytes.used[kind]

    def _enter(self, share: Share) -> bool:
        kind, ties = share.kind, share.ties
        if not (self._slots.admits(kind, ties, 1) and self._bytes.admits(kind, ties, share.size)):
            return False
        self._change(share, 1)
        return True

    def _change(self, share: Share, sign: int) -> None:
        self._slots.change(share.kind, share.ties, sign)
        self._bytes.change(share.kind, share.ties, sign * share.size)


class _Measure:
    """What of `total` the kinds, and the tied ones among them, hold."""

    def __init__(self, total: int) -> None:
        self._total = total
        self.least = {kind: total // part for kind, part in _LEAST.items()}
        self._most = {kind: max(1, total // part) for kind, part in _MOST.items()}
        self.used = dict.fromkeys(Kind, 0)
        self._held: dict[tuple[Kind, Tie], int] = {}

    def admits(self, kind: Kind, ties: tuple[Tie, ...], amount: int) -> bool:
        free = self._free(kind)
        return amount <= free and all(self._fair(kind, tie, amount, free) for tie in ties)

    def change(self, kind: Kind, ties: tuple[Tie, ...], amount: int) -> None:
        self.used[kind] += amount
        for tie in ties:
            left = self._held.get((kind, tie), 0) + amount
            if left:
                self._held[kind, tie] = left
            else:
                self._held.pop((kind, tie), None)

    def _free(self, kind: Kind) -> int:
        others = sum(max(self.used[other], self.least[other]) for other in Kind if other is not kind)
        return min(self._most[kind], self._total - others) - self.used[kind]

    def _fair(self, kind: Kind, tie: Tie, amount: int, free: int) -> bool:
        weight, held = _WEIGHTS.get((kind, tie.kin)), self._held.get((kind, tie), 0)
        if weight is None or held == 0:
            return True
        return held + amount <= max(weight * (free - self.least[kind]), free / _CROWD)
