"""Signatures of callbacks, per Standard Webhooks 1.0.0: HMAC-SHA256 over `id.timestamp.body`, one for each secret.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

from pydantic import SecretStr
from standardwebhooks import Webhook

from callstream.contract.receivers import canonical_host, place_of

_PREFIX = "whsec_"
_MIN_KEY, _MAX_KEY = 24, 64  # bytes, from the specification

Keys = tuple[Webhook, ...]


@dataclass(frozen=True)
class HostSecret:
    """A secret of one receiver's canonical host; on every port if `port` is None."""

    host: str
    port: int | None
    secret: SecretStr

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}{'' if self.port is None else f':{self.port}'}={self.secret}"


def checked(secret: SecretStr) -> SecretStr:
    """Return `secret` if it is as Standard Webhooks writes one.

    Raises:
        ValueError: it is not; the message does not contain it.
    """
    _key(secret)
    return secret


def host_secret(text: str) -> HostSecret:
    """Read `host=whsec_...` or `host:port=whsec_...`.

    Raises:
        ValueError: it is neither; the message contains no part of it.
    """
    place, _, secret = (part.strip() for part in text.partition("="))  # base64 may end with = too, a host has none
    try:
        parts = urlsplit(f"//{place}")
        host, port = canonical_host(parts.hostname or ""), parts.port
    except ValueError:
        host, port = "", None
    if not host or not secret or parts.netloc != place or "@" in place:
        raise ValueError("must be host=whsec_... or host:port=whsec_...")
    return HostSecret(host, port, checked(SecretStr(secret)))


def keys(secrets: Iterable[SecretStr]) -> Keys:
    """Return what signs and verifies with `secrets`.

    Raises:
        ValueError: one is not as Standard Webhooks writes it; the message does not contain it.
    """
    return tuple(Webhook(_key(secret)) for secret in secrets)


class Signer:
    """Gives a callback the headers of Standard Webhooks; a host's secrets stand in for the general ones there."""

    def __init__(self, secrets: Iterable[SecretStr], host_secrets: Iterable[HostSecret]) -> None:
        self._general = keys(secrets)
        self._hosts: dict[tuple[str, int | None], Keys] = {}
        for owned in host_secrets:
            place = owned.host, owned.port
            self._hosts[place] = (*self._hosts.get(place, ()), Webhook(_key(owned.secret)))

    def headers(self, task_id: str, url: str, at: datetime, body: bytes) -> dict[str, str]:
        """Return the headers of the attempt that begins `at`; without a secret for `url` they hold no signature.

        `body` is what goes over the wire, in UTF-8.
        """
        seconds = int(at.timestamp())
        headers = {"webhook-id": task_id, "webhook-timestamp": str(seconds)}
        if found := self._keys_for(url):
            # The package takes any time for one in UTC, and the body as text.
            moment, text = datetime.fromtimestamp(seconds, UTC), body.decode()
            headers["webhook-signature"] = " ".join(key.sign(task_id, moment, text) for key in found)
        return headers

    def _keys_for(self, url: str) -> Keys:
        if not self._hosts:
            return self._general
        _, host, port = place_of(url)
        return self._hosts.get((host, port)) or self._hosts.get((host, None)) or self._general


def _key(secret: SecretStr) -> bytes:
    text = secret.get_secret_value()
    if not text.startswith(_PREFIX):
        raise ValueError(f"must begin with {_PREFIX}")
    text = text.removeprefix(_PREFIX)
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)  # padding may be left out
    except ValueError:
        raise ValueError(f"must be base64 after {_PREFIX}") from None
    if not _MIN_KEY <= len(key) <= _MAX_KEY:
        raise ValueError(f"must be {_MIN_KEY} to {_MAX_KEY} bytes in base64, and is {len(key)}")
    return key
