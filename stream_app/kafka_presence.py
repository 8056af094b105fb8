"""Whether the topics that are read are still there: told once, each time that one goes."""

from typing import Any

from callstream.runtime.logs import get_logger

_WHY = "the broker does not know it, or not all its partitions, any more: of these nothing is read or committed"

log = get_logger()


class Presence:
    """Looks at what brokers answer to one of aiokafka's consumers about topics.

    It hears of every answer, as the group does, and not only of the commits that meet a topic that has gone: the group
    may have let go of it before the next one. No answer, where no broker is there, is none that a topic is gone.
    """

    def __init__(self, consumer: Any) -> None:
        self._subscriptions = consumer._subscription  # noqa: SLF001 - it has no door
        self._there: dict[str, set[int]] = {}  # the partitions of those that are read
        consumer._client.cluster.add_listener(self._look)  # noqa: SLF001 - likewise

    def _look(self, cluster: Any) -> None:
        """Take an answer; what has not been there yet cannot go: who waits for it at the start tells of it."""
        subscription = self._subscriptions.subscription
        topics = frozenset() if subscription is None else subscription.topics
        before, self._there = self._there, {topic: cluster.partitions_for_topic(topic) or set() for topic in topics}
        for topic in sorted(topics & before.keys()):
            if before[topic] - self._there[topic]:
                log.warning("topic.unknown", topic=topic, why=_WHY)
