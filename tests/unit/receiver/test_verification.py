"""The receiver tells a callback that is signed from one that is not, without a socket."""

import io
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from rich.console import Console
from standardwebhooks import Webhook

from receiver.app import create_app
from receiver.verification import SecretError, Verifier
from tests.support.secrets import FOREIGN, NEW, OLD

BODY = '{"results":[{"städte":"東京"}],"errors":[],"task_id":"t-1"}'.encode()


class Bench:
    """A receiver with secrets, a client of it and what it shows."""

    def __init__(self, client: httpx.AsyncClient, screen: io.StringIO) -> None:
        self._client = client
        self._screen = screen

    async def take(self, headers: dict[str, str], body: bytes = BODY) -> tuple[int, str]:
        """Call back; return the answer's status and what the receiver found, which it must tell and show alike."""
        answer = await self._client.post("/test-me", content=body, headers=headers)
        found: str = (await self._client.get("/received")).json()[-1]["signature"]
        assert f" {found}, " in self._screen.getvalue()
        return answer.status_code, found

    async def behave(self, status: int) -> None:
        (await self._client.post("/behave", json={"status": status, "times": 1})).raise_for_status()


Open = Callable[..., Bench]


@pytest.fixture
async def receiver() -> AsyncIterator[Open]:
    async with AsyncExitStack() as stack:

        def opened(*secrets: str) -> Bench:
            screen = io.StringIO()
            app = create_app(Console(file=screen, width=120, force_terminal=True, color_system=None), secrets)
            client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://receiver")
            stack.push_async_callback(client.aclose)
            return Bench(client, screen)

        yield opened


def signed(*secrets: str, at: datetime | None = None, body: bytes = BODY) -> dict[str, str]:
    at = at or datetime.now(UTC)
    signatures = [Webhook(secret).sign("t-1", at, body.decode()) for secret in secrets]
    return {
        "webhook-id": "t-1",
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


@pytest.mark.parametrize(
    ("known", "used"), [((NEW,), (NEW,)), ((OLD,), (NEW, OLD)), ((NEW,), (NEW, OLD)), ((NEW, OLD), (OLD,))]
)
async def test_one_secret_in_common_is_enough(receiver: Open, known: tuple[str, ...], used: tuple[str, ...]) -> None:
    assert await receiver(*known).take(signed(*used)) == (200, "signature verified")


async def test_signatures_that_it_does_not_know_are_passed_over(receiver: Open) -> None:
    headers = signed(NEW)
    headers["webhook-signature"] = f"v1a,c2ln v2 v1,a,b {headers['webhook-signature']} v1,x"
    assert await receiver(NEW).take(headers) == (200, "signature verified")


async def test_what_is_signed_need_not_be_json(receiver: Open) -> None:
    assert await receiver(NEW).take(signed(NEW, body=b"no json"), b"no json") == (200, "signature verified")


@pytest.mark.parametrize("change", [b" ", "é".encode(), b"\xff"], ids=["space", "text", "no text"])
async def test_a_changed_body_is_wrong(receiver: Open, change: bytes) -> None:
    status, found = await receiver(NEW).take(signed(NEW), BODY + change)
    assert status == 401
    assert found.startswith("signature WRONG: ")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"webhook-id": "t-2"}, "No matching signature found"),
        ({"webhook-timestamp": "nan"}, "Invalid Signature Headers"),
        ({"webhook-timestamp": ""}, "Missing required headers"),
        ({"webhook-signature": ""}, "Missing required headers"),
        ({"webhook-signature": "v1"}, "No matching signature found"),
        ({"webhook-signature": "v1,x"}, "No matching signature found"),
        ({"webhook-signature": "v2,eA=="}, "No matching signature found"),
    ],
)
async def test_a_changed_header_is_refused_with_the_reason(receiver: Open, change: dict[str, str], why: str) -> None:
    assert await receiver(OLD, NEW).take(signed(NEW) | change) == (401, f"signature WRONG: {why}")


@pytest.mark.parametrize(("minutes", "why"), [(-9, "Message timestamp too old"), (9, "Message timestamp too new")])
async def test_a_signature_of_another_time_is_refused(receiver: Open, minutes: int, why: str) -> None:
    headers = signed(NEW, at=datetime.now(UTC) + timedelta(minutes=minutes))
    assert await receiver(NEW).take(headers) == (401, f"signature WRONG: {why}")


async def test_a_foreign_signature_is_refused(receiver: Open) -> None:
    assert await receiver(OLD, NEW).take(signed(FOREIGN)) == (401, "signature WRONG: No matching signature found")


async def test_an_unsigned_callback_is_refused_where_a_secret_is_known(receiver: Open) -> None:
    assert await receiver(NEW).take({"webhook-id": "t-1"}) == (401, "unsigned")


async def test_an_unsigned_callback_is_taken_where_no_secret_is_known(receiver: Open) -> None:
    assert await receiver().take({"webhook-id": "t-1"}) == (200, "unsigned")


async def test_a_signature_is_not_called_good_where_no_secret_is_known(receiver: Open) -> None:
    assert await receiver().take(signed(NEW)) == (200, "signature not checked, for want of a secret")


async def test_orders_hold_for_callbacks_that_are_verified(receiver: Open) -> None:
    bench = receiver(NEW)
    await bench.behave(503)
    assert (await bench.take(signed(FOREIGN)))[0] == 401
    assert (await bench.take(signed(NEW)))[0] == 503
    assert (await bench.take(signed(NEW)))[0] == 200


@pytest.mark.parametrize("secret", ["", "whsec_", "hunter2", "whsec_x", "whsec_\u00e9\u00e9\u00e9\u00e9"])
def test_a_secret_that_cannot_be_used_is_told_and_not_shown(secret: str) -> None:
    with pytest.raises(SecretError, match=r"\Asecret 2 is not whsec_ and base64\Z"):
        Verifier([NEW, secret])
