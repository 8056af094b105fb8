"""Whether a callback comes from who knows the secret, per Standard Webhooks."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from standardwebhooks import Webhook, WebhookVerificationError
from standardwebhooks.webhooks import EmptyWebhookSecretError

_PREFIX = "whsec_"
_V1 = re.compile("v1,[A-Za-z0-9+/]{43}=")  # HMAC-SHA256 in base64


class SecretError(ValueError):
    """A secret cannot be used; the text does not contain it."""


def listed(given: Sequence[str]) -> list[str]:
    """Return the secrets in texts that may hold several, with commas or spaces between them.

    Raises:
        SecretError: there is a text and no secret in it, which must not let everything in.
    """
    secrets = " ".join(given).replace(",", " ").split()
    if given and not secrets:
        raise SecretError("there is no secret in it")
    return secrets


class Verdict(NamedTuple):
    accepted: bool
    text: str


class Verifier:
    """Takes what one of the secrets signed; takes everything if there are none."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._keys = [_key(number, secret) for number, secret in enumerate(secrets, 1)]

    def verdict(self, raw: bytes, headers: Mapping[str, str]) -> Verdict:
        """Judge the body as it came, byte for byte."""
        if "webhook-signature" not in headers:
            return Verdict(not self._keys, "unsigned")
        if not self._keys:
            return Verdict(accepted=True, text="signature not checked, for want of a secret")
        why, known = "", {**headers, "webhook-signature": _known(headers["webhook-signature"])}
        for key in self._keys:
            try:
                key.verify(raw, known, json_parse=False)
            except WebhookVerificationError as error:
                why = str(error)
            except ValueError:  # from what the package takes for granted: a body in UTF-8
                why = "it cannot be read"
            else:
                return Verdict(accepted=True, text="signature verified")
        return Verdict(accepted=False, text=f"signature WRONG: {why}")


def _known(signatures: str) -> str:
    """Leave out signatures of versions to come, and what is none: the package fails at what has not one comma."""
    known = " ".join(part for part in signatures.split() if _V1.fullmatch(part))
    return known or (signatures and "none,")  # of no version, which matches nothing


def _key(number: int, secret: str) -> Webhook:
    with suppress(ValueError, EmptyWebhookSecretError):
        if secret.startswith(_PREFIX):
            return Webhook(secret)
    raise SecretError(f"secret {number} is not {_PREFIX} and base64")
