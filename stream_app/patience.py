"""How long one attempt may hold the room that it began in."""

import asyncio
from collections.abc import Awaitable, Callable

from stream_app.outcome import Outcome
from stream_app.shares import Kind, Share, Shares
from stream_app.ties import Tie, address_tie


class AddressTakenError(OSError):
    """An address is not dialled, since enough is under way there; the text leaves it out."""

    def __init__(self) -> None:
        super().__init__(None, "as many callbacks as may are under way at the url's address")


class Patience:
    """Watches one attempt: where it dials, and whether it is over in time.

    What is not counts as slow from then on. Where those that are slow leave no room for it, it is cut short: else
    receivers that were quick, or new, could fill what is kept for such with attempts that hang.
    """

    def __init__(self, shares: Shares, share: Share) -> None:
        self._shares = shares
        self._share = share
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

    async def run(
        self, attempt: Callable[[], Awaitable[Outcome]], seconds: float, on_overdue: Callable[[], None]
    ) -> Outcome | None:
        """Return the attempt's outcome, None if it was cut short after `seconds`."""
        limit = asyncio.timeout(None)
        loop = asyncio.get_running_loop()

        def overdue() -> None:
            self.overdue = True
            on_overdue()
            if self._share.kind is not Kind.SLOW and not self._shares.move(self._share, Kind.SLOW):
                limit.reschedule(loop.time())

        try:
            async with limit:
                alarm = loop.call_later(seconds, overdue)
                try:
                    return await attempt()
                finally:
                    alarm.cancel()
        except TimeoutError:
            return None
