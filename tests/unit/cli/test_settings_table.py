"""What `callstream settings` shows."""

from pathlib import Path

from pydantic import Field, SecretStr

from callstream.runtime.settings import Settings
from cli.settings_table import all_settings, env_example

ROOT = Path(__file__).parents[3]


class WithSecret(Settings):
    token: SecretStr = Field(SecretStr(""), description="For the test")


def test_the_committed_env_example_is_what_the_command_prints() -> None:
    assert (ROOT / ".env.example").read_text() == env_example(), "run: callstream settings --env-example > .env.example"


def test_every_setting_has_a_meaning() -> None:
    assert [setting.variable for setting in all_settings(Settings()) if not setting.meaning] == []


def test_the_example_read_back_gives_the_defaults(tmp_path: Path) -> None:
    lines = [line.removeprefix("# ") for line in env_example().splitlines() if line.startswith("# CALLSTREAM_")]
    (tmp_path / "env").write_text("\n".join(lines))
    read_back = list(all_settings(Settings(_env_file=tmp_path / "env")))
    assert len(read_back) == len(lines)
    assert [setting.variable for setting in read_back if setting.value != setting.default] == []


def test_values_stand_as_an_environment_would_write_them() -> None:
    settings = Settings.model_validate(
        {"task_delay": "2.5", "kafka": {"idempotent": False}, "callbacks": {"schedule": "1,20s,120"}}
    )
    values = {setting.variable: setting.value for setting in all_settings(settings)}
    assert values["CALLSTREAM_TASK_DELAY"] == "2.5s"
    assert values["CALLSTREAM_KAFKA__IDEMPOTENT"] == "false"
    assert values["CALLSTREAM_CALLBACKS__SCHEDULE"] == "1s,20s,2m"


def test_a_secret_is_masked() -> None:
    shown = {setting.variable: setting for setting in all_settings(WithSecret(token=SecretStr("hush")))}
    assert "hush" not in str(shown["CALLSTREAM_TOKEN"])
    assert shown["CALLSTREAM_TOKEN"].value.startswith("***")
