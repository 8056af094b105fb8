"""For a receiver: a callback as a value, if it comes from who knows the secret."""

import re
from collections.abc import Iterable, Mapping

from pydantic import SecretStr, ValidationError
from standardwebhooks import WebhookVerificationError

from callstream.contract.messages import CallbackBody
from callstream.contract.signature import keys

_SIGNATURE = "webhook-signature"
_V1 = re.compile("v1,[A-Za-z0-9+/]{43}=")  # HMAC-SHA256 in base64
_NONE = "none,"  # a signature of no version, which matches nothing


class UnverifiedError(Exception):
    """It is not a callback that was signed with one of the secrets within the last five minutes."""


def verify(body: bytes, headers: Mapping[str, str], secrets: Iterable[str]) -> CallbackBody:
    """Return the callback in `body`, which is judged as it came, byte for byte; one of the `secrets` is enough.

    Raises:
        UnverifiedError: it is unsigned, signed with another secret, too old, or changed.
        ValueError: there is no secret, or one is not `whsec_` and base64.
    """
    candidates = keys(map(SecretStr, secrets))
    if not candidates:
        raise ValueError("without a secret nothing can be verified")
    why, known = "", _with_known_signatures(headers)
    for key in candidates:
        try:
            key.verify(body, known, json_parse=False)
        except (WebhookVerificationError, ValueError) as error:  # the latter where UTF-8 was expected
            why = str(error)
            continue
        return _callback(body, headers)
    raise UnverifiedError(why)


def _with_known_signatures(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers, and of the signatures those that the package can judge.

    Standard Webhooks lets a sender add signatures of versions to come; the package fails at what has not one comma.
    """
    known = {name.lower(): value for name, value in headers.items()}
    if found := known.get(_SIGNATURE):
        known[_SIGNATURE] = " ".join(part for part in found.split() if _V1.fullmatch(part)) or _NONE
    return known


def _callback(body: bytes, headers: Mapping[str, str]) -> CallbackBody:
    try:
        callback = CallbackBody.model_validate_json(body)
    except ValidationError as error:
        raise UnverifiedError(f"it is signed, and no callback: {error}") from error
    if callback.task_id not in (value for name, value in headers.items() if name.lower() == "webhook-id"):
        raise UnverifiedError("its task_id is not its webhook-id")
    return callback
