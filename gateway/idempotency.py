"""Idempotency keys: a request that comes again under its key is answered as before, without a second record.

https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from gateway.publisher import OutcomeUnknownError, RefusedError, TooLargeError

_MOST = 100_000  # 31 MiB, measured


class OtherBodyError(Exception):
    """The key came before, with another body."""


@dataclass(slots=True)
class _Entry:
    """What is known of one key: `expires` is in the clock's seconds, `sending` the outcome while it is not known."""

    digest: bytes
    expires: float
    stored: bool = False
    perhaps_stored: bool = False
    sending: asyncio.Future[Exception | None] | None = None


class Keys:
    """Remembers keys for `ttl` seconds, and at most `most` of them: what was used least lately makes room.

    A key is known by the task_id that follows from it.
    """

    def __init__(self, ttl: float, clock: Callable[[], float], most: int = _MOST) -> None:
        self._ttl = ttl
        self._clock = clock
        self._most = most
        self._entries: OrderedDict[str, _Entry] = OrderedDict()

    async def store_once(self, task_id: str, body: bytes, store: Callable[[], Awaitable[None]], by: float) -> bool:
        """Store a request unless it is stored already; return whether this call did.

        While another call stores it, wait for that one's outcome, `by` then at the latest (in the loop's time).

        Raises:
            OtherBodyError: the key came before, with another body.
            RefusedError, OutcomeUnknownError, TooLargeError: as `store` raises them, in this call or the other.
        """
        digest = hashlib.blake2b(body, digest_size=16).digest()
        entry = self._entry(task_id, digest)
        if entry.digest != digest:
            raise OtherBodyError
        if entry.stored:
            return False
        if entry.sending is not None:
            await self._outcome(entry.sending, by)
            return False
        await self._store(task_id, entry, store)
        return True

    def _entry(self, task_id: str, digest: bytes) -> _Entry:
        now = self._clock()
        entry = self._entries.get(task_id)
        if entry is None or (entry.expires <= now and entry.sending is None):
            entry = self._entries[task_id] = _Entry(digest, now + self._ttl)
        self._entries.move_to_end(task_id)
        if len(self._entries) > self._most:
            self._entries.popitem(last=False)
        return entry

    @staticmethod
    async def _outcome(sending: asyncio.Future[Exception | None], by: float) -> None:
        try:
            async with asyncio.timeout_at(by):
                error = await asyncio.shield(sending)
        except TimeoutError:
            raise OutcomeUnknownError("the same request is under way") from None
        if error is not None:
            raise error

    async def _store(self, task_id: str, entry: _Entry, store: Callable[[], Awaitable[None]]) -> None:
        entry.sending = sending = asyncio.get_running_loop().create_future()
        outcome: Exception | None = OutcomeUnknownError("the gateway gave up")
        try:
            await store()
            outcome, entry.stored = None, True
        except (RefusedError, TooLargeError) as error:
            outcome = error
            if not entry.perhaps_stored and self._entries.get(task_id) is entry:
                del self._entries[task_id]  # so that another body may come
            raise
        except OutcomeUnknownError as error:
            outcome = error
            raise
        finally:
            entry.perhaps_stored |= isinstance(outcome, OutcomeUnknownError)
            entry.sending = None
            sending.set_result(outcome)
