"""How many bytes of requests a process may hold, reserved before they are kept."""

SMALL = 64 * 1024  # bytes; what every body may have, however many large ones are under way
_KEPT_FOR_SMALL = 8  # one part in as many


class Budget:
    """Counts bytes that are held, of `most`; a part of them is for small bodies alone.

    Whoever holds more than a small body already leaves that part free, so that a few who send much do not shut out
    the many who send little.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._most_for_large = most - most // _KEPT_FOR_SMALL
        self._held = 0

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

    def release(self, size: int) -> None:
        self._held -= size
