"""Cookies of answers are neither kept nor read."""

from http.cookiejar import CookieJar
from typing import Any

import aiohttp


class NoCookies(CookieJar):
    """httpx's jar, which reads no cookie: the standard library's parser takes 0.1 s for 16 KiB made for it."""

    def extract_cookies(self, response: Any, request: Any) -> None:  # noqa: ANN401 - as it is declared
        """Do nothing."""


class NoCookieJar(aiohttp.DummyCookieJar):
    """aiohttp's, which would read them all the same before it drops them."""

    def update_cookies_from_headers(self, headers: Any, response_url: Any) -> None:  # noqa: ANN401 - likewise
        """Do nothing."""
