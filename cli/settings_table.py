"""`callstream settings`: every setting with its variable, default, value and meaning."""

import os
from collections.abc import Iterator
from datetime import timedelta
from difflib import get_close_matches
from typing import NamedTuple

from dotenv import dotenv_values
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from rich.console import Console
from rich.table import Table

from callstream.contract.durations import duration_text
from callstream.runtime.logs import get_logger
from callstream.runtime.settings import DELIMITER, PREFIX, Settings, variable

_ENV_FILE_HEAD = """\
# Written by `callstream settings --env-example`: every setting with its default.
# Copy it to .env and uncomment what shall differ; a variable of the environment goes before .env.
# Durations are in ms, s, m, h or d; a number alone is in seconds.
"""


class Setting(NamedTuple):
    """One setting; `default` and `value` as an environment would write them, a secret masked."""

    variable: str
    default: str
    value: str
    meaning: str


def print_table(settings: Settings) -> None:
    """Print a table, or lines of four tab-separated columns where no terminal shows it."""
    console = Console()
    if not console.is_terminal:
        for setting in all_settings(settings):
            console.file.write("\t".join(setting) + "\n")
        return
    table = Table("Variable", "Default", "Value", "Meaning")
    for setting in all_settings(settings):
        changed = setting.value != setting.default
        table.add_row(
            setting.variable, setting.default, setting.value, setting.meaning, style="bold" if changed else ""
        )
    console.print(table)


def env_example() -> str:
    """Return the text of `.env.example`."""
    entries = [
        f"\n# {setting.meaning}\n# {setting.variable}={setting.default}\n"
        for setting in all_settings(Settings.model_construct())
    ]
    return _ENV_FILE_HEAD + "".join(entries)


def all_settings(settings: Settings) -> Iterator[Setting]:
    for path, field, default, value in _leaves(type(settings).model_construct(), settings, ()):
        yield Setting(variable(path), _text(default), _text(value), field.description or "")


def warn_of_unknown_variables() -> None:
    """Log a warning for each variable with our prefix that no setting has, as a misspelt one would be ignored.

    Within a group (`CALLSTREAM_KAFKA__...`) the settings themselves refuse what they do not know.
    """
    known = {setting.variable for setting in all_settings(Settings.model_construct())}
    groups = tuple(name.rpartition(DELIMITER)[0] for name in known if DELIMITER in name)
    given = {name.upper() for name in (*os.environ, *dotenv_values(str(Settings.model_config.get("env_file"))))}
    for name in sorted(given - known - set(groups)):
        if name.startswith(PREFIX) and not name.startswith(tuple(group + DELIMITER for group in groups)):
            closest = get_close_matches(name, known, n=1)
            get_logger().warning("setting.unknown", variable=name, did_you_mean=closest[0] if closest else None)


def _leaves(
    defaults: BaseModel, values: BaseModel, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], FieldInfo, object, object]]:
    for name, field in type(defaults).model_fields.items():
        default, value = getattr(defaults, name), getattr(values, name)
        if isinstance(value, BaseModel):
            yield from _leaves(default, value, (*path, name))
        else:
            yield (*path, name), field, default, value


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case timedelta():
            return duration_text(value)
        case tuple() | list():
            return ",".join(_text(part) for part in value)
        case _:
            return str(value)
