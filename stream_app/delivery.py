"""One attempt to deliver a callback: an HTTP POST, and its outcome as a value."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import httpx

from callstream.runtime.http import AddressForbiddenError
from stream_app.outcome import AnsweredError, Delivered, Failed, Forbidden, Outcome, Refused, Throttled, Unreachable
from stream_app.retry_after import retry_after

_READ = 64 * 1024  # bytes of an answer read, so that its connection can serve again; the rest is not waited for
_GONE = 410
_OVERLOADED = frozenset({429, 502, 504})


class HttpDelivery:
    """POSTs over `transport`; every foreign error becomes an outcome here."""

    def __init__(self, transport: httpx.AsyncBaseTransport, deadline: timedelta) -> None:
        self._transport = transport
        self._deadline = deadline.total_seconds()

    async def attempt(self, url: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
        """Return the outcome within the deadline, which spans name look-up, connection, TLS and answer.

        Raises:
            AnsweredError: it was cancelled, and would have returned this outcome.
        """
        outcome: Outcome | None = None
        try:
            async with asyncio.timeout(self._deadline):
                # Straight to the transport: an httpx.AsyncClient costs as much again as the whole exchange.
                request = httpx.Request("POST", url, content=body, headers=headers)
                response = await self._transport.handle_async_request(request)
                outcome = _answered(response)
                await _read_some(response)
        except asyncio.CancelledError:
            if outcome is None:
                raise
            raise AnsweredError(outcome) from None
        except TimeoutError:
            return outcome or Unreachable(f"no answer within {self._deadline:g} s")
        except AddressForbiddenError as error:
            return Forbidden(error.address)
        except Exception as error:  # noqa: BLE001 - whatever a receiver, or its URL, brings about is its own trouble alone
            return outcome or Unreachable(f"{type(error).__name__}: {error}")
        return outcome


async def _read_some(response: httpx.Response) -> None:
    left = _READ
    try:
        async for chunk in response.aiter_raw():
            left -= len(chunk)
            if left <= 0:
                return
    finally:
        await response.aclose()


def _answered(response: httpx.Response) -> Outcome:
    status = response.status_code
    if httpx.codes.is_success(status):
        return Delivered(status)
    if status == _GONE:
        return Refused()
    asked = response.headers.get("retry-after")
    wait = retry_after(asked, datetime.now(UTC)) if asked else None
    return Throttled(status, wait) if wait is not None or status in _OVERLOADED else Failed(status)
