"""How every command begins."""

from callstream.runtime.logs import configure_logging
from callstream.runtime.settings import Settings, load_settings


def start() -> Settings:
    """Read the settings and let the log begin; variables that look like ours and are not are told."""
    from cli.settings_table import warn_of_unknown_variables  # noqa: PLC0415 - `callstream --help` needs none of it

    settings = load_settings()
    configure_logging(settings.log_level, settings.log_format)
    warn_of_unknown_variables()
    return settings
