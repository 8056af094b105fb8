"""What the HTTP client dials for a URL's host."""

import re
from functools import lru_cache

import httpx

from callstream.contract.receivers import LONGEST_HOST, canonical_host

_LABEL = "[a-z0-9_-]{1,63}"
_NAME = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*")


def dialled_host(host: str) -> str:
    """Return the name in ASCII, or the address, that is dialled for `host`, both without brackets.

    The client of ours takes international names by IDNA 2008, as they are registered, and none of what browsers
    take away or replace first (soft hyphens, full width, zero-width space): a name of those could never be dialled.

    Raises:
        ValueError: nothing can be dialled for it, or something else than its receiver is.
    """
    if len(host) > LONGEST_HOST or "%" in host:  # a zone of an address as well, which may be of any length
        raise ValueError("must name a host that can exist")
    return _dialled_host(host)


@lru_cache(maxsize=10_000)
def _dialled_host(host: str) -> str:
    bracketed = f"[{host}]" if ":" in host else host
    try:
        dialled = httpx.URL(f"http://{bracketed}/").raw_host.decode()
    except httpx.InvalidURL:
        raise ValueError("must name a host that can exist") from None
    if ":" not in dialled and not _NAME.fullmatch(dialled.removesuffix(".")):
        raise ValueError("must name a host that can exist")
    if canonical_host(dialled) != canonical_host(host):
        raise ValueError("must name a host that everybody reads alike")
    return dialled
