"""How receivers share the room for callbacks, in slots and in bytes, so that those that hang fill a part of it alone.

Pure: what is asked here is answered at once. Docs: docs/decisions/0015-room-is-shared-by-how-long-it-is-held.md.
"""

from collections.abc import Iterable
from enum import IntEnum
from typing import Protocol

from callstream.runtime.ties import Kin, Tie


class Kind(IntEnum):  # indices below, and hashed in no time: all of this is done for every callback
    """What is expected of a receiver: each kind has a part of the room that the others leave to it."""

    QUICK = 0  # it answers soon
    NEW = 1  # it never answered yet
    SLOW = 2  # it answers, later
    SILENT = 3  # it holds what it gets, and whether it will answer is not known


_LEAST = (4, 2, 2, 1)  # the part of the slots that is left to each kind, in sixteenths
_LEAST_BYTES = (4, 2, 2, 2)  # and that of the bytes: the largest result may be an eighth of them
_MOST = (16, 8, 8, 6)  # the most that each kind may have while the others do not need it
# What is tied (receiver, domain, address) may hold so many times what it leaves free for others of its kind, so that
# there is always something free (dynamic thresholds: Choudhury and Hahne, 1998). The part that is left to the kind does
# not count as free: there each has next to nothing, so that hundreds who come at once find some of it. Neither domain
# nor address bounds quick ones: many good receivers share one. Nor does an address, which may be a CDN's, bound those
# under a domain that holds little.
_WEIGHTS: tuple[tuple[float | None, ...], ...] = (
    (3.0, None, None),
    (1.0, 1.0, 1.0),
    (0.25, 1.0, 1.0),
    (0.25, 1.0, 1.0),
)
_CROWD = (16, 64, 64, 64)  # of what is left of a kind's own part, one in so many is for one receiver, domain, address
_LITTLE = 16  # one part in so many of what is free
_SPARE = 8  # quick ones do not wait: a large one leaves them as much again, or one part in so many of theirs


class Share:
    """The room that one callback holds."""

    __slots__ = ("kind", "size", "ties")

    def __init__(self, kind: Kind, ties: tuple[Tie, ...], size: int) -> None:
        self.kind = kind
        self.ties = ties
        self.size = size


class Queue(Protocol):
    """Who waits for room of one kind."""

    def __bool__(self) -> bool: ...

    def serve(self) -> None:
        """Take in that there may be more room than before."""


class Shares:
    """Room for `slots` callbacks with `size` bytes in all; every kind finds its own part of both free of the others.

    A callback of up to `largest` bytes finds room even where that is more than a kind's part. What is in one of the
    `queues` has what comes free of its kind before what is moved there.
    """

    def __init__(self, slots: int, size: int, largest: int = 0) -> None:
        self._slots = _Measure(slots, _LEAST)
        self._bytes = _Measure(size, _LEAST_BYTES, largest)
        self.queues: dict[Kind, Queue] = {}

    def has_room(self, kind: Kind, size: int) -> bool:
        """Return whether there is room for one that is tied to nobody."""
        return self._slots.admits(kind, (), 1) and self._bytes.admits(kind, (), self._bytes.counted(size))

    def claim(self, kind: Kind, ties: Iterable[Tie], size: int) -> Share | None:
        """Return room for a callback of `size` bytes, to be given back; None if there is none for it."""
        share = Share(kind, tuple(ties), self._bytes.counted(size))
        return share if self._enter(share) else None

    def move(self, share: Share, kind: Kind) -> bool:
        """Count a share as of another kind; return False, and leave it, if that has no room, or others wait for it."""
        if self.queues.get(kind):
            return False
        before = share.kind
        self._change(share, -1)
        share.kind = kind
        if self._enter(share):
            self._tell()
            return True
        share.kind = before
        self._change(share, 1)
        return False

    def tie(self, share: Share, tie: Tie) -> bool:
        """Count a share among what is tied so as well; return False, and leave it, if that holds enough already."""
        if tie in share.ties:
            return True
        self._change(share, -1)
        before, share.ties = share.ties, (*share.ties, tie)
        if self._enter(share):
            return True
        share.ties = before
        self._change(share, 1)
        return False

    def give_back(self, share: Share) -> None:
        self._change(share, -1)
        self._tell()

    def held(self, kind: Kind) -> tuple[int, int]:
        """Return the slots and the bytes that a kind holds."""
        return self._slots.used[kind], self._bytes.used[kind]

    def _enter(self, share: Share) -> bool:
        kind, ties = share.kind, share.ties
        if not (self._slots.admits(kind, ties, 1) and self._bytes.admits(kind, ties, share.size)):
            return False
        self._change(share, 1)
        return True

    def _tell(self) -> None:
        for queue in self.queues.values():
            if queue:
                queue.serve()

    def _change(self, share: Share, sign: int) -> None:
        self._slots.change(share.kind, share.ties, sign)
        self._bytes.change(share.kind, share.ties, sign * share.size)


class _Measure:
    """What of `total` the kinds, and the tied ones among them, hold.

    Who wants more than the smallest part asks for just that much. What `largest` is beyond it is kept beside the parts,
    half of all at most, for one at a time that takes more than it asked for: it takes nothing from another kind's part.
    """

    def __init__(self, total: int, parts: tuple[int, ...], largest: int = 0) -> None:
        shared = min(total, max(total // 2, (total - largest) * 16 // (16 - min(parts))))
        self.least = [shared * part // 16 for part in parts]
        self._most = [max(1, shared * part // 16) for part in _MOST]
        self._taken = [*self.least]  # what each kind holds, or what is left to it if that is more
        self._free = shared - sum(self._taken)  # less than none where one took what is kept
        self._kept = total - shared
        self._ask = max(1, min(self.least))
        self.used = [0] * len(Kind)
        self._held: list[dict[Tie, int]] = [{} for _ in Kind]

    def counted(self, amount: int) -> int:
        """Return as how much it counts: what is larger than all that one may have finds room as well."""
        return min(amount, self._ask + self._kept)

    def admits(self, kind: Kind, ties: tuple[Tie, ...], amount: int) -> bool:
        used, least, taken = self.used[kind], self.least[kind], self._taken[kind]
        free = min(self._most[kind], max(self._free, 0) + taken) - used
        asked = min(amount, self._ask)
        spare = min(asked, least // _SPARE) if kind is Kind.QUICK else 0
        if asked + spare > free or max(used + amount, least) - taken > self._free + self._kept:
            return False
        few, weights, held = free / _CROWD[kind], _WEIGHTS[kind], self._held[kind]
        little = max(free / _LITTLE, 1)
        domain = next((held.get(tie, 0) for tie in ties if tie.kin is Kin.DOMAIN), None)
        unbound = domain is not None and (not domain or domain + amount <= little)
        for tie in ties:
            if unbound and tie.kin is Kin.ADDRESS:
                continue
            weight, before = weights[tie.kin], held.get(tie, 0)
            if weight is not None and before and before + amount > max(weight * (free - least), few):
                return False
        return True

    def change(self, kind: Kind, ties: tuple[Tie, ...], amount: int) -> None:
        used = self.used[kind] = self.used[kind] + amount
        taken = max(used, self.least[kind])
        self._free += self._taken[kind] - taken
        self._taken[kind] = taken
        held, weights = self._held[kind], _WEIGHTS[kind]
        for tie in ties:
            if weights[tie.kin] is None:
                continue
            if left := held.get(tie, 0) + amount:
                held[tie] = left
            else:
                held.pop(tie, None)
