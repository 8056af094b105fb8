"""The command: what is wanted, what is there, and what is said of it."""

import asyncio
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from callstream.contract.topics import Shape
from callstream.runtime.logs import get_logger
from callstream.runtime.settings import Settings, variable
from callstream.runtime.topic_shapes import topic_shapes
from callstream.tasks import load_tasks
from cli.errors import CommandError
from cli.topics.checks import IN_SYNC, RETENTION, SIZE, Topic, differences
from cli.topics.cluster import Cluster, cluster_of

_LINE = 160  # characters, in a log; a terminal says how wide it is
_SHOWN = (SIZE, RETENTION, IN_SYNC)

log = get_logger()


@dataclass(frozen=True)
class Prepared:
    """A topic that is as it should be, and whether this run has created it."""

    name: str
    topic: Topic
    created: bool


def run(settings: Settings, wait: float, replicas: int, *, production: bool) -> None:
    """Create or check every topic and print a table of it; wait up to `wait` seconds for the broker first.

    Raises:
        CommandError: the broker is away or refuses, a topic is not as it should be, the partitions are too few for
            `replicas` processes that share them, or a topic has one copy, for `production`.
        RegistryError: the installed task types do not fit together.
    """
    if (partitions := settings.topics.partitions) < replicas:
        raise CommandError(
            f"{variable(('topics', 'partitions'))} is {partitions}, and {replicas} replicas of one kind are wanted: "
            f"{replicas - partitions} would have nothing to do; raise the one or lower the other"
        )
    wanted = wanted_topics(settings)
    console = Console()
    if not console.is_terminal:
        console.width = _LINE
    console.print(_table(asyncio.run(_prepare(settings, wanted, wait, production=production))))


def wanted_topics(settings: Settings) -> dict[str, Shape]:
    """Return every topic with the shape that it should have.

    Raises:
        CommandError: records would not be kept for as long as callbacks may wait.
        RegistryError: the installed task types do not fit together.
    """
    if settings.topics.retention < settings.callbacks.expiry:
        raise CommandError(
            f"{variable(('topics', 'retention'))} is shorter than {variable(('callbacks', 'expiry'))}: "
            "what waits for its callback would be lost"
        )
    return topic_shapes(settings, load_tasks())


async def _prepare(settings: Settings, wanted: dict[str, Shape], wait: float, *, production: bool) -> list[Prepared]:
    async with cluster_of(settings, wait) as cluster:
        there = await cluster.names()
        missing = {name: shape for name, shape in wanted.items() if name not in there}
        created = await _create(cluster, missing, settings.topics.replication_factor, production=production)
        found = await cluster.shown(wanted)
    if wrong := [line for name, shape in wanted.items() for line in differences(name, shape, found[name])]:
        raise CommandError("\n".join(wrong), exit_code=1)
    if single := [name for name, topic in found.items() if topic.replicas == 1]:
        _tell_single(single, production=production)
    return [Prepared(name, topic, name in created) for name, topic in found.items()]


async def _create(cluster: Cluster, missing: dict[str, Shape], factor: int, *, production: bool) -> set[str]:
    """Create what is missing; for `production` not with one copy."""
    if not missing:
        return set()
    copies = factor if factor > 0 else await cluster.default_copies()
    if production and copies == 1:
        _tell_single(list(missing), production=True)
    return await cluster.create(missing, copies)


def _tell_single(names: list[str], *, production: bool) -> None:
    """Say that what is accepted stands on one broker alone.

    Raises:
        CommandError: it is for `production`.
    """
    mend = f"raise {variable(('topics', 'replication_factor'))}"
    if production:
        raise CommandError(
            f"what is accepted must not be lost with one broker, and {len(names)} topics have one copy: {mend} (3 is "
            f"usual), for topics that are there with Kafka's tools: {', '.join(names)}",
            exit_code=1,
        )
    log.warning("topics.single-copy", topics=len(names), trouble=f"what is accepted is lost with its broker; {mend}")


def _table(topics: list[Prepared]) -> Table:
    table = Table("Topic", "Partitions", "Replicas", *_SHOWN, "")
    for each in topics:
        partitions, replicas, config = each.topic
        told = [config.get(name, "not told") for name in _SHOWN]
        table.add_row(each.name, str(partitions), str(replicas), *told, "created" if each.created else "was there")
    return table
