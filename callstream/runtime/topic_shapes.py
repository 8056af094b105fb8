"""What each topic is to be like, as the settings say."""

from collections.abc import Iterable
from datetime import timedelta

from callstream.contract.topics import Shape
from callstream.runtime.settings import Settings


def topic_shapes(settings: Settings, tasks: Iterable[str]) -> dict[str, Shape]:
    """Return every topic that an install with these task types needs, with its shape."""
    topics, names = settings.topics, settings.topic_names
    kept = topics.retention // timedelta(milliseconds=1)
    sizes = settings.sizes
    shape = Shape(topics.partitions, topics.replication_factor, sizes.request, kept)
    wanted = dict.fromkeys(names.all(tasks, settings.callbacks.tiers), shape)
    waiting = shape._replace(largest=sizes.tier)
    tiers = {names.retry(tier): waiting for tier in settings.callbacks.tiers}
    # A dead letter waits for a person.
    letters = shape._replace(largest=sizes.dead_letter, retention=4 * kept)
    # A replay asks them what became of its dead letters.
    attempts = {names.attempts: shape._replace(retention=letters.retention)}
    return wanted | tiers | dict.fromkeys(names.dead_letters, letters) | attempts
