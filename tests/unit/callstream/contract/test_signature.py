"""Callbacks are signed as Standard Webhooks says: checked by its published vector and by its own package."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic import SecretStr
from standardwebhooks import Webhook, WebhookVerificationError

from callstream.contract.signature import HostSecret, Signer, host_secret
from tests.support.secrets import FOREIGN, NEW, OLD, PUBLISHED

URL = "https://receiver.example/hook"
BODY = b'{"results":[{"calc_0":123.76}],"errors":[],"task_id":"t-1"}'


def signer(*secrets: str, hosts: tuple[str, ...] = ()) -> Signer:
    return Signer([SecretStr(secret) for secret in secrets], [host_secret(text) for text in hosts])


def verify(secret: str, body: bytes, headers: dict[str, str]) -> None:
    Webhook(secret).verify(body, headers, json_parse=False)


def signed_by(secret: str, headers: dict[str, str], body: bytes = BODY) -> bool:
    try:
        verify(secret, body, headers)
    except WebhookVerificationError:
        return False
    return True


PUBLISHED_TIME = datetime.fromtimestamp(1614265330, UTC)


@pytest.mark.parametrize(
    "at",
    [
        PUBLISHED_TIME,
        PUBLISHED_TIME.replace(microsecond=999_999),
        PUBLISHED_TIME.astimezone(timezone(timedelta(hours=5))),
    ],
    ids=["whole second", "end of the second", "another zone"],
)
def test_the_published_vector_is_reproduced(at: datetime) -> None:
    assert signer(PUBLISHED).headers("msg_p5jXN8AQM9LWM0D4loKWxJek", URL, at, b'{"test": 2432232314}') == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@pytest.mark.parametrize(("secret", "good"), [(OLD, True), (NEW, True), (FOREIGN, False)])
def test_while_secrets_change_a_receiver_needs_only_one_of_them(secret: str, good: bool) -> None:  # noqa: FBT001
    headers = signer(NEW, OLD).headers("t-1", URL, datetime.now(UTC), BODY)
    assert signed_by(secret, headers) is good
    assert [part.split(",")[0] for part in headers["webhook-signature"].split(" ")] == ["v1", "v1"]


def test_a_secret_without_padding_signs_as_the_package_reads_it() -> None:
    assert signed_by(FOREIGN, signer(FOREIGN).headers("t-1", URL, datetime.now(UTC), BODY))


def test_every_attempt_has_the_same_id_and_a_time_of_its_own() -> None:
    now = datetime.now(UTC)
    first, second = (
        signer(OLD).headers("t-1", URL, at, BODY) for at in (now - timedelta(minutes=2), now + timedelta(minutes=1))
    )
    assert first["webhook-id"] == second["webhook-id"] == "t-1"
    assert int(second["webhook-timestamp"]) - int(first["webhook-timestamp"]) == 180
    assert first["webhook-signature"] != second["webhook-signature"]
    assert signed_by(OLD, first)
    assert signed_by(OLD, second)


def test_without_a_secret_a_callback_has_its_id_and_its_time() -> None:
    assert signer().headers("t-1", URL, PUBLISHED_TIME, BODY) == {
        "webhook-id": "t-1",
        "webhook-timestamp": "1614265330",
    }


@pytest.mark.parametrize(
    "body", ['{"name":"Zoë 東京 🎉"}'.encode(), b"", b'{"escaped":"\\u00eb\\ud83c\\udf89"}', b'{"a":"\\u0000"}']
)
def test_the_bytes_of_the_body_are_what_is_signed(body: bytes) -> None:
    verify(OLD, body, signer(OLD).headers("t-1", URL, datetime.now(UTC), body))


@pytest.mark.parametrize(
    ("task_id", "later"), [("t-2", timedelta(0)), ("t-1", timedelta(seconds=1)), ("t-1", timedelta(seconds=-1))]
)
def test_a_signature_holds_for_no_other_id_or_time(task_id: str, later: timedelta) -> None:
    now = datetime.now(UTC)
    signature = signer(OLD).headers("t-1", URL, now, BODY)["webhook-signature"]
    others = signer().headers(task_id, URL, now + later, BODY)
    assert not signed_by(OLD, others | {"webhook-signature": signature})


@pytest.mark.parametrize("body", [BODY + b" ", BODY.replace(b"123.76", b"999.99"), b""])
def test_a_changed_body_is_noticed(body: bytes) -> None:
    assert not signed_by(OLD, signer(OLD).headers("t-1", URL, datetime.now(UTC), BODY), body)


@pytest.mark.parametrize(
    ("host", "url", "owned"),
    [
        ("receiver.example", "https://receiver.example/hook", True),
        ("receiver.example", "http://receiver.example:8080/hook", True),
        ("Receiver.EXAMPLE", "https://receiver.example/hook", True),
        ("receiver.example", "HTTPS://RECEIVER.Example/hook", True),
        ("receiver.example", "https://receiver.example./hook", True),
        ("receiver.example:443", "https://receiver.example/hook", True),
        ("receiver.example:443", "https://receiver.example:443/hook", True),
        ("receiver.example:80", "http://receiver.example/hook", True),
        ("receiver.example:80", "https://receiver.example/hook", False),
        ("receiver.example:8443", "https://receiver.example:8443/hook", True),
        ("receiver.example:8443", "https://receiver.example/hook", False),
        ("receiver.example", "https://sub.receiver.example/hook", False),
        ("receiver.example", "https://other.example/receiver.example", False),
        ("[::1]:8001", "http://[::1]:8001/hook", True),
        ("receiver.example", "https://receiver。example/hook", True),
        ("bücher.example", "https://xn--bcher-kva.example/hook", True),
        ("127.0.0.1:8443", "https://[::ffff:7f00:1]:8443/hook", True),
    ],
)
def test_a_hosts_secret_stands_in_for_the_general_one_there_alone(host: str, url: str, owned: bool) -> None:  # noqa: FBT001
    headers = signer(NEW, hosts=(f"{host}={OLD}",)).headers("t-1", url, datetime.now(UTC), BODY)
    assert signed_by(OLD, headers) is owned
    assert signed_by(NEW, headers) is not owned


@pytest.mark.parametrize(("port", "secret"), [("", OLD), (":8443", NEW)])
def test_a_port_named_goes_before_the_whole_host(port: str, secret: str) -> None:
    hosts = (f"receiver.example={OLD}", f"receiver.example:8443={NEW}")
    headers = signer(hosts=hosts).headers("t-1", f"https://receiver.example{port}/", datetime.now(UTC), BODY)
    assert [each for each in (OLD, NEW) if signed_by(each, headers)] == [secret]


def test_a_host_may_have_several_secrets_while_they_change() -> None:
    hosts = (f"receiver.example={OLD}", f"receiver.example={NEW}")
    headers = signer(FOREIGN, hosts=hosts).headers("t-1", URL, datetime.now(UTC), BODY)
    assert [each for each in (OLD, NEW, FOREIGN) if signed_by(each, headers)] == [OLD, NEW]


def test_without_a_general_secret_other_hosts_get_unsigned_callbacks() -> None:
    only = signer(hosts=(f"receiver.example={OLD}",))
    assert "webhook-signature" not in only.headers("t-1", "https://other.example/", PUBLISHED_TIME, BODY)


@pytest.mark.parametrize("text", ["receiver.example", "receiver.example:8443", "[::1]", "[::1]:8001"])
def test_a_hosts_secret_is_written_masked(text: str) -> None:
    assert str(host_secret(f"{text}={OLD}")) == f"{text}=**********"
    assert OLD not in repr(host_secret(f"{text}={OLD}"))


def test_a_signer_takes_no_secret_that_the_settings_would_refuse() -> None:
    with pytest.raises(ValueError, match="must begin with whsec_"):
        Signer([], [HostSecret("receiver.example", None, SecretStr("short"))])
