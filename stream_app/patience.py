"""How long one attempt may hold the room that it began in."""

import asyncio
from collections.abc import Awaitable, Callable

from callstream.runtime.egress import AddressTakenError
from callstream.runtime.ties import Tie, address_tie
from stream_app.outcome import AnsweredError, Outcome
from stream_app.shares import Kind, Share, Shares

_LATE = 0.1  # seconds that a timer is late where the loop was held up


class Patience:
    """Watches one attempt: where it dials, and whether it is over in time.

    What takes longer than `quick` seconds counts as slow from then on, and what takes longer than `slow` as silent;
    `slow` is None if the receiver is not known to answer: then it is silent at once. Where such leave no room for it,
    it is cut short: else attempts that hang could fill what is kept for others.
    """

    __slots__ = (
        "_alarm",
        "_limit",
        "_loop",
        "_on_overdue",
        "_quick",
        "_share",
        "_shares",
        "_slow",
        "addresses",
        "overdue",
        "turned_back",
    )

    def __init__(
        self, shares: Shares, share: Share, on_overdue: Callable[[], None], *, quick: float, slow: float | None
    ) -> None:
        self._shares = shares
        self._share = share
        self._quick = quick
        self._slow = slow
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
        """Return the attempt's outcome, None if it was cut short before it had one."""
        self._arm(self._quick)
        try:
            async with self._limit:
                return await attempt()
        except TimeoutError:
            return None
        except AnsweredError as answered:
            if _is_cancelled():  # by somebody else, such as when the partition goes to another process
                raise asyncio.CancelledError from None
            return answered.outcome
        finally:
            self._alarm.cancel()
            del self._alarm, self._limit  # their context leads back here, and what is in a circle is collected late

    def _arm(self, seconds: float) -> None:
        due = self._loop.time() + seconds
        self._alarm = self._loop.call_at(due, self._ring, due)

    def _ring(self, due: float) -> None:
        if self._loop.time() - due > _LATE:  # it was we who were held up: the answer may have come meanwhile
            self._arm(self._quick)
            return
        kinds = [Kind.SILENT]
        if not self.overdue:
            self.overdue = True
            self._on_overdue()
            if self._slow is not None:
                kinds = [Kind.SLOW, Kind.SILENT]
        if not any(self._counts_as(kind) for kind in kinds):
            self._limit.reschedule(self._loop.time())
        elif self._share.kind is Kind.SLOW and self._slow is not None:
            self._arm(self._slow - self._quick)

    def _counts_as(self, kind: Kind) -> bool:
        return self._share.kind >= kind or self._shares.move(self._share, kind)


def _is_cancelled() -> bool:
    """Return whether the task is being cancelled; a limit of its own that expired has taken that back."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
