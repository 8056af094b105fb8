"""Settings come from the environment, typed and frozen; a bad one is told by its variable."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from callstream.runtime.settings import Settings, SettingsError, load_settings, variable


@pytest.fixture(autouse=True)
def _no_dotenv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("TASK_DELAY", "2.5", lambda settings: settings.task_delay == timedelta(seconds=2.5)),
        ("TASK_DELAY", "0", lambda settings: settings.task_delay == timedelta(0)),
        ("TASK_DELAY", "", lambda settings: settings.task_delay == timedelta(0)),
        ("KAFKA__SESSION_TIMEOUT", "6", lambda settings: settings.kafka.session_timeout == timedelta(seconds=6)),
        ("KAFKA__BOOTSTRAP", "a:1,b:2", lambda settings: settings.kafka.bootstrap == "a:1,b:2"),
        ("KAFKA__BOOTSTRAP", f"a_1.{'x' * 63}.:65535", lambda settings: "x:" not in settings.kafka.bootstrap),
        ("KAFKA__IDEMPOTENT", "false", lambda settings: settings.kafka.idempotent is False),
        (
            "CALLBACKS__SCHEDULE",
            "1, 2",
            lambda settings: [d.total_seconds() for d in settings.callbacks.schedule] == [1, 2],
        ),
        ("TOPICS__PREFIX", "blue.", lambda settings: settings.topic_names.results == "blue.task.results"),
    ],
)
def test_a_setting_is_what_its_variable_says(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, read: Callable[[Settings], bool]
) -> None:
    monkeypatch.setenv(f"CALLSTREAM_{name}", value)
    assert read(load_settings())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("TASK_DELAY", value) for value in ("soon", "-1", "nan", "inf", "1e300", "86401", "PT5S")),
        ("KAFKA__SESSION_TIMEOUT", "0"),
        ("KAFKA__BOOTSTRAP", "nowhere"),
        *(("KAFKA__BOOTSTRAP", f"a:1,{broker}") for broker in ("a:65536", "a:0", "a..b:1", ".a:1")),
        *(
            ("KAFKA__BOOTSTRAP", f"{label}.example:1")
            for label in ("x" * 64, "\N{LATIN SMALL LETTER U WITH DIAERESIS}" * 63)
        ),
        ("KAFKA", "127.0.0.1:9092"),
        ("CALLBACKS__SCHEDULE", "1,soon"),
        ("CALLBACKS__SCHEDULE", "1,-1"),
        ("CALLBACKS__SCHEDULE", ","),
        ("CALLBACKS__SCHEDULE", "0s"),
        ("CALLBACKS__SCHEDULE", "1e400"),
        ("TOPICS__PREFIX", "two words"),
        ("TOPICS__PARTITIONS", "1.5"),
        ("TASKS__WINDOW", "0"),
        ("TASKS__WINDO", "9"),
        ("LOG_LEVEL", "loud"),
    ],
)
def test_a_bad_value_is_told_in_one_line_that_names_its_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"CALLSTREAM_{name}", value)
    with pytest.raises(SettingsError, match=rf"\ACALLSTREAM_{name}: .+\Z"):
        load_settings()


def test_every_bad_value_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLSTREAM_TASK_DELAY", "soon")
    monkeypatch.setenv("CALLSTREAM_TASKS__WINDOW", "none")
    with pytest.raises(SettingsError) as told:
        load_settings()
    assert [line.partition(":")[0] for line in str(told.value).splitlines()] == [
        "CALLSTREAM_TASK_DELAY",
        "CALLSTREAM_TASKS__WINDOW",
    ]


@pytest.mark.parametrize(
    ("path", "name"), [(("kafka", "bootstrap"), "CALLSTREAM_KAFKA__BOOTSTRAP"), (("a", 1), "CALLSTREAM_A")]
)
def test_a_settings_path_is_a_variable(path: tuple[int | str, ...], name: str) -> None:
    assert variable(path) == name


@pytest.mark.parametrize(("owner", "name"), [("", "task_delay"), ("kafka", "bootstrap"), ("callbacks", "schedule")])
def test_settings_cannot_be_changed(owner: str, name: str) -> None:
    settings = Settings()
    with pytest.raises(ValidationError, match="frozen"):
        setattr(getattr(settings, owner) if owner else settings, name, "other")
