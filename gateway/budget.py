"""How many bytes of requests a process may hold, reserved before they are kept."""

from typing import Protocol

SMALL = 64 * 1024  # bytes; what every body may have, however many large ones are under way
_KEPT_FOR_SMALL = 8  # one part in as many


class Holder(Protocol):
    """One whose body arrives."""

    def give_up(self) -> None:
        """Release what it holds."""


class Budget:
    """Counts bytes that are held, of `most`; a part of them is for small bodies alone.

    Whoever holds more than a small body already leaves that part free, so that a few who send much do not shut out
    the many who send little. Where no room is left, the body gives up that began last of those that have not arrived:
    if all that arrive at once were refused when they meet the limit, none of them would be taken.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._most_for_large = most - most // _KEPT_FOR_SMALL
        self._held = 0
        self._arriving: dict[Holder, None] = {}  # in the order in which they began

    @property
    def held(self) -> int:
        return self._held

    def reserve(self, size: int, whole: int) -> bool:
        """Return whether `size` more bytes may be held; with them the one who asks has `whole`."""
        held = self._held + size
        if held > (self._most if whole <= SMALL else self._most_for_large):
            return False
        self._held = held
        return True

    def reserve_for_body(self, size: int, whole: int, holder: Holder) -> bool:
        """Do the same for a part of `holder`'s body; bodies that began after it give up for it."""
        while not self.reserve(size, whole):
            last = next(reversed(self._arriving), holder)
            if last is holder:
                return False
            self.arrived(last)
            last.give_up()
        return True

    def arrives(self, holder: Holder) -> None:
        """Note that more of the body is to come than its first part."""
        self._arriving[holder] = None

    def arrived(self, holder: Holder) -> None:
        """Note that no more is to come: what is held may be needed until it is released."""
        self._arriving.pop(holder, None)

    def release(self, size: int) -> None:
        self._held -= size
