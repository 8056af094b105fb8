"""How long one attempt may hold the room that it began in."""

import asyncio
from collections.abc import Awaitable, Callable

from callstream.runtime.egress import AddressTakenError
from callstream.runtime.ties import Tie, address_tie
from stream_app.outcome import Outcome
from stream_app.shares import Kind, Share, Shares

_LATE = 0.1  # seconds that a timer is late where the loop was held up


class Patience:
    """Watches one attempt: where it dials, and whether it is over within `seconds`.

    What is not counts as slow from then on. Where those that are slow leave no room for it, it is cut short: else
    receivers that were quick, or new, could fill what is kept for such with attempts that hang.
    """

    __slots__ = (
        "_alarm",
        "_limit",
        "_loop",
        "_on_overdue",
        "_seconds",
        "_share",
        "_shares",
        "addresses",
        "overdue",
        "turned_back",
    )

    def __init__(self, shares: Shares, share: Share, seconds: float, on_overdue: Callable[[], None]) -> None:
        self._shares = shares
        self._share = share
        self._seconds = seconds
        self._on_overdue = on_overdue
        self._loop = asyncio.get_running_loop()
        self._limit = asyncio.timeout(None)
        self.overdue = False
        self.turned_back = False  # from an address
        self.addresses: list[Tie] = []

    def dials(self, host: str) -> None:
        """Take in an address that is about to be dialled.

        Raises:
            AddressTakenError: it is not to be dialled.
        """
        tie = address_tie(host)
        if not self._shares.tie(self._share, tie):
            self.turned_back = True
            raise AddressTakenError
        self.addresses.append(tie)

    async def run(self, attempt: Callable[[], Awaitable[Outcome]]) -> Outcome | None:
        """Return the attempt's outcome, None if it was cut short."""
        self._arm()
        try:
            async with self._limit:
                return await attempt()
        except TimeoutError:
            return None
        finally:
            self._alarm.cancel()
            del self._alarm, self._limit  # their context leads back here, and what is in a circle is collected late

    def _arm(self) -> None:
        due = self._loop.time() + self._seconds
        self._alarm = self._loop.call_at(due, self._ring, due)

    def _ring(self, due: float) -> None:
        if self._loop.time() - due > _LATE:  # it was we who were held up: the answer may have come meanwhile
            self._arm()
            return
        self.overdue = True
        self._on_overdue()
        if self._share.kind is not Kind.SLOW and not self._shares.move(self._share, Kind.SLOW):
            self._limit.reschedule(self._loop.time())
