"""How every command begins."""

import resource
from contextlib import suppress

from callstream.runtime.logs import configure_logging
from callstream.runtime.settings import Settings, load_settings


def start() -> Settings:
    """Read the settings and let the log begin; variables that look like ours and are not are told."""
    from cli.settings_table import warn_of_unknown_variables  # noqa: PLC0415 - `callstream --help` needs none of it

    settings = load_settings()
    configure_logging(settings.log_level, settings.log_format)
    _allow_many_connections()
    warn_of_unknown_variables()
    return settings


def _allow_many_connections() -> None:
    """Raise the limit on open files as far as it goes: a shell's usual 1,024 are fewer than callbacks under way."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # some systems name a limit that they do not grant
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
