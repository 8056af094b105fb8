"""A receiver gets a typed callback, or an error for what is not one."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from callstream.client import CallbackBody, UnverifiedError, verify
from callstream.contract.signature import Signer
from tests.support.secrets import FOREIGN, NEW, OLD

CALLBACK = CallbackBody(results=[{"sum": 3.0}], errors=[], task_id="t-1")
BODY = CALLBACK.model_dump_json().encode()


def signed(body: bytes = BODY, *secrets: str, age: timedelta = timedelta(0), task_id: str = "t-1") -> dict[str, str]:
    signer = Signer(map(SecretStr, secrets or (OLD, NEW)), ())
    headers = signer.headers(task_id, "http://receiver.example/", datetime.now(UTC) - age, body)
    return {name.title(): value for name, value in headers.items()}


@pytest.mark.parametrize("secrets", [[OLD], [NEW], [FOREIGN, NEW]])
def test_a_callback_that_one_of_the_secrets_signed_is_a_value(secrets: list[str]) -> None:
    assert verify(BODY, signed(), secrets) == CALLBACK


@pytest.mark.parametrize("other", ["v1a,c2ln", "v2", "v1", "v1,", "v1,é", "v1,a,b", ",", "v1,c2ln", "v1,====", "\t"])
@pytest.mark.parametrize("place", ["{other} {ours}", "{ours} {other}", "{other}  {ours} {other}"])
def test_signatures_that_it_does_not_know_are_passed_over(other: str, place: str) -> None:
    headers = signed()
    signatures = place.format(other=other, ours=headers["Webhook-Signature"])
    assert verify(BODY, headers | {"Webhook-Signature": signatures}, [NEW]) == CALLBACK


@pytest.mark.parametrize(
    ("body", "headers", "why"),
    [
        (BODY, lambda: signed(BODY, FOREIGN), "No matching signature"),
        (BODY.replace(b"3.0", b"4.0"), signed, "No matching signature"),
        (BODY, lambda: signed(age=timedelta(minutes=6)), "too old"),
        (BODY, dict, "Missing required headers"),
        (BODY, lambda: signed() | {"Webhook-Signature": "v1"}, "No matching signature"),
        (BODY, lambda: signed() | {"Webhook-Signature": "v1a,x v2 é,, v1,x"}, "No matching signature"),
        (b"\xff", signed, "utf-8"),
        (b"[]", lambda: signed(b"[]"), "no callback"),
        (BODY, lambda: signed(task_id="t-2"), "webhook-id"),
    ],
    ids=["secret", "body", "age", "unsigned", "odd signature", "odd signatures", "bytes", "form", "id"],
)
def test_what_is_no_signed_callback_is_refused_with_the_reason(
    body: bytes, headers: Callable[[], dict[str, str]], why: str
) -> None:
    with pytest.raises(UnverifiedError, match=why):
        verify(body, headers(), [OLD])


@pytest.mark.parametrize(("secrets", "why"), [([], "without a secret"), (["secret"], "must begin with whsec_")])
def test_without_a_usable_secret_nothing_is_verified(secrets: list[str], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        verify(BODY, signed(), secrets)
