"""What a replay asks the attempts for has to be there for as long as what it replays."""

from callstream.runtime.settings import Settings
from cli.topics.command import wanted_topics


def test_the_attempts_are_kept_as_long_as_the_dead_letters() -> None:
    settings = Settings(_env_file=None)
    wanted, names = wanted_topics(settings), settings.topic_names
    (kept,) = {wanted[name].retention for name in names.dead_letters}
    assert wanted[names.attempts].retention == kept
    assert kept is not None
