"""For a receiver: a callback as a value, if it comes from who knows the secret."""

from collections.abc import Iterable, Mapping

from pydantic import SecretStr, ValidationError
from standardwebhooks import WebhookVerificationError

from callstream.contract.messages import CallbackBody
from callstream.contract.signature import keys


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
    why = ""
    for key in candidates:
        try:
            key.verify(body, dict(headers), json_parse=False)
        except (WebhookVerificationError, ValueError) as error:  # the latter where UTF-8 or base64 was expected
            why = str(error)
            continue
        return _callback(body, headers)
    raise UnverifiedError(why)


def _callback(body: bytes, headers: Mapping[str, str]) -> CallbackBody:
    try:
        callback = CallbackBody.model_validate_json(body)
    except ValidationError as error:
        raise UnverifiedError(f"it is signed, and no callback: {error}") from error
    if callback.task_id not in (value for name, value in headers.items() if name.lower() == "webhook-id"):
        raise UnverifiedError("its task_id is not its webhook-id")
    return callback
