"""Secrets in the settings: a bad one stops the start, and none is ever shown."""

import base64
import traceback
from pathlib import Path

import pytest

from callstream.runtime.settings import SettingsError, load_settings
from cli.settings_table import all_settings
from tests.support.secrets import NEW, OLD, PUBLISHED

GENERAL, HOSTS = "CALLSTREAM_CALLBACKS__SECRETS", "CALLSTREAM_CALLBACKS__HOST_SECRETS"


def of_length(count: int) -> str:
    return f"whsec_{base64.b64encode(bytes(range(count))).decode()}"


@pytest.fixture(autouse=True)
def _no_dotenv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("value", "secrets"),
    [
        ("", []),
        (PUBLISHED, [PUBLISHED]),
        (f"{NEW}, {OLD},", [NEW, OLD]),
        (of_length(24), [of_length(24)]),
        (of_length(64), [of_length(64)]),
    ],
    ids=["none", "one", "two", "shortest", "longest"],
)
def test_secrets_stand_behind_each_other(monkeypatch: pytest.MonkeyPatch, value: str, secrets: list[str]) -> None:
    monkeypatch.setenv(GENERAL, value)
    assert [secret.get_secret_value() for secret in load_settings().callbacks.secrets] == secrets


def test_a_host_may_have_secrets_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOSTS, f"Receiver.example={OLD}, [2001:db8::1]:8443={NEW}")
    assert [
        (owned.host, owned.port, owned.secret.get_secret_value()) for owned in load_settings().callbacks.host_secrets
    ] == [("receiver.example", None, OLD), ("2001:db8::1", 8443, NEW)]


BAD = {
    "no prefix": ("{}", "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"),
    "other prefix": ("{}", "whsk_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"),
    "prefix alone": ("{}", "whsec_"),
    "no base64": ("{}", "whsec_hunter2-hunter2-hunter2-hunter2-hun"),
    "base64 for URLs": ("{}", "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQt____c2VjcmV0"),
    "cut off": ("{}", "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0c"),
    "not ASCII": ("{}", "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2Vjcm\u00e9"),
    "too short": ("{}", of_length(23)),
    "too long": ("{}", of_length(65)),
    "the second": (f"{NEW},{{}}", of_length(16)),
}
BAD_OF_HOSTS = {
    "no host": ("{}", NEW),
    "no host, padded": ("{}", OLD),
    "empty host": ("={}", NEW),
    "URL": ("https://receiver.example={}", NEW),
    "path": ("receiver.example/hook={}", NEW),
    "user": ("user@receiver.example={}", NEW),
    "port": ("receiver.example:99999={}", NEW),
    "bracket": ("[::1={}", NEW),
    "no bracket": ("::1={}", NEW),
    **{name: (f"receiver.example={form}", secret) for name, (form, secret) in BAD.items() if form == "{}"},
}


@pytest.mark.parametrize(
    ("name", "form", "secret"),
    [
        *(pytest.param(GENERAL, *bad, id=f"general, {name}") for name, bad in BAD.items()),
        *(pytest.param(HOSTS, *bad, id=f"host, {name}") for name, bad in BAD_OF_HOSTS.items()),
    ],
)
def test_a_bad_secret_is_told_by_its_variable_and_never_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, form: str, secret: str
) -> None:
    monkeypatch.setenv(name, form.format(secret))
    with pytest.raises(SettingsError, match=rf"\A{name}: part [12]: .*must .+\Z") as told:
        load_settings()
    shown = "".join(traceback.format_exception(told.value))
    assert "ValidationError" in shown  # the cause is shown too, as an uncaught error would be
    assert secret.removeprefix("whsec_")[:8].lower() not in shown.lower() or secret == "whsec_"  # noqa: S105 - no secret


@pytest.mark.parametrize("value", [NEW, "receiver.example"], ids=["secret", "host"])
def test_half_of_a_hosts_secret_is_told_what_is_wanted(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(HOSTS, value)
    with pytest.raises(SettingsError, match=r"must be host=whsec_\.\.\. or host:port=whsec_\.\.\."):
        load_settings()


@pytest.mark.parametrize("name", [GENERAL, HOSTS])
def test_a_list_of_nothing_does_not_leave_callbacks_unsigned(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, ",")
    with pytest.raises(SettingsError, match=f"{name}: .*at least 1 item"):
        load_settings()


def test_the_table_of_settings_masks_secrets_and_shows_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(GENERAL, f"{NEW},{OLD}")
    monkeypatch.setenv(HOSTS, f"receiver.example:8443={PUBLISHED}")
    values = {setting.variable: setting.value for setting in all_settings(load_settings())}
    assert values[GENERAL] == "**********,**********"
    assert values[HOSTS] == "receiver.example:8443=**********"
