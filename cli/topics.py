"""`callstream topics`: creates the topics that are missing and checks those that are there."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaConnectionError, KafkaError, NoError, TopicAlreadyExistsError, for_code
from rich.console import Console
from rich.table import Table

from callstream.contract.topics import Shape
from callstream.runtime.kafka import client_options
from callstream.runtime.settings import Settings, variable
from callstream.runtime.topic_shapes import topic_shapes
from callstream.tasks import load_tasks
from cli.errors import CommandError
from cli.reach import answers_within

_SIZE = "max.message.bytes"
_RETENTION = "retention.ms"
_FOR_EVER = -1  # as a retention
_VISIBLE = 10  # seconds until every broker must show a topic that was created
_LOOK_AGAIN = 0.1  # seconds
_LINE = 160  # characters, in a log; a terminal says how wide it is


@dataclass(frozen=True)
class Prepared:
    """A topic that is as it should be, and whether this run has created it."""

    name: str
    shape: Shape
    created: bool


def run(settings: Settings, wait: float, replicas: int) -> None:
    """Create or check every topic and print a table of it; wait up to `wait` seconds for the broker first.

    Raises:
        CommandError: the broker is away or refuses, a topic is not as it should be, or the partitions are too few for
            `replicas` processes that share them.
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
    console.print(_table(asyncio.run(prepare(settings, wanted, wait))))


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


async def prepare(settings: Settings, wanted: dict[str, Shape], wait: float) -> list[Prepared]:
    options = client_options(settings, "topics")
    bootstrap = settings.kafka.bootstrap
    if not await answers_within(wait, **options):
        where = variable(("kafka", "bootstrap"))
        raise CommandError(f"no broker answers at {bootstrap} ({where})", exit_code=1)
    admin = AIOKafkaAdminClient(**options)
    try:
        await admin.start()
        created = await _create(admin, wanted)
        found = await _found(admin, wanted)
    except (KafkaError, OSError, TimeoutError) as error:
        raise CommandError(f"the broker at {bootstrap} failed: {error!r}", exit_code=1) from error
    finally:
        await admin.close()
    if wrong := [line for name, shape in wanted.items() for line in _differences(name, shape, found[name])]:
        raise CommandError("\n".join(wrong), exit_code=1)
    return [Prepared(name, shape, name in created) for name, shape in found.items()]


async def _create(admin: AIOKafkaAdminClient, wanted: dict[str, Shape]) -> set[str]:
    """Create the topics that are missing; return those that this call created."""
    there = await _shapes(admin)
    missing = [_new_topic(name, shape) for name, shape in wanted.items() if name not in there]
    if not missing:
        return set()
    answer = await admin.create_topics(missing)
    created = set()
    for name, code, text in answer.topic_errors:
        error = for_code(code)
        if error is NoError:
            created.add(name)
        elif error is not TopicAlreadyExistsError:  # another run may be at it too
            raise CommandError(f"the broker does not create the topic {name}: {error.__name__}: {text}", exit_code=1)
    return created


def _new_topic(name: str, shape: Shape) -> NewTopic:
    topic = NewTopic(
        name, shape.partitions, 1, topic_configs={_SIZE: str(shape.largest), _RETENTION: str(shape.retention)}
    )
    topic.replication_factor = shape.replicas  # its constructor does not know -1, the broker's default
    return topic


async def _found(admin: AIOKafkaAdminClient, wanted: dict[str, Shape]) -> dict[str, Shape]:
    """Return the shapes of the wanted topics, when the broker shows them all."""
    async with asyncio.timeout(_VISIBLE):
        while not wanted.keys() <= (shapes := await _shapes(admin)).keys():  # noqa: ASYNC110 - a broker calls nobody
            await asyncio.sleep(_LOOK_AGAIN)
    configs = await _configs(admin, list(wanted))
    return {name: _configured(shapes[name], configs.get(name, {})) for name in wanted}


def _configured(shape: Shape, config: dict[str, int]) -> Shape:
    return shape._replace(largest=config.get(_SIZE), retention=config.get(_RETENTION))


async def _shapes(admin: AIOKafkaAdminClient) -> dict[str, Shape]:
    topics = await admin.describe_topics()
    return {
        topic["topic"]: Shape(
            len(topic["partitions"]), min(len(part["replicas"]) for part in topic["partitions"]), None, None
        )
        for topic in topics
        if topic["partitions"]
    }


async def _configs(admin: AIOKafkaAdminClient, names: list[str]) -> dict[str, dict[str, int]]:
    wanted = {_SIZE: None, _RETENTION: None}
    try:
        answers = await admin.describe_configs(
            [ConfigResource(ConfigResourceType.TOPIC, name, wanted) for name in names]
        )
    except KafkaConnectionError:  # the embedded broker hangs up when it is asked this
        return {}
    return {
        name: {entry[0]: int(entry[1]) for entry in entries if entry[0] in wanted}
        for answer in answers
        for (_, _, _, name, entries) in answer.resources
    }


def _differences(name: str, wants: Shape, has: Shape) -> Iterator[str]:
    if has.partitions != wants.partitions:
        yield (
            f"{name} has {has.partitions} partitions, {variable(('topics', 'partitions'))} wants {wants.partitions}: "
            "set it to what the topic has, or add partitions with Kafka's tools while no task of the topic is under way"
        )
    if has.replicas < wants.replicas:
        yield (
            f"{name} has {has.replicas} replicas, {variable(('topics', 'replication_factor'))} wants {wants.replicas}: "
            "lower it, or reassign the partitions with Kafka's tools"
        )
    if _less(has.largest, wants.largest):
        yield (
            f"{name} has {_SIZE}={has.largest}, {variable(('topics', 'max_message_bytes'))} wants {wants.largest} "
            f"here: lower it, or raise the topic's {_SIZE} with Kafka's tools"
        )
    if has.retention != _FOR_EVER and _less(has.retention, wants.retention):
        yield (
            f"{name} has {_RETENTION}={has.retention}, {variable(('topics', 'retention'))} wants {wants.retention} "
            f"here: lower it, or raise the topic's {_RETENTION} with Kafka's tools"
        )


def _less(has: int | None, wants: int | None) -> bool:
    return has is not None and wants is not None and has < wants


def _table(topics: list[Prepared]) -> Table:
    table = Table("Topic", "Partitions", "Replicas", _SIZE, _RETENTION, "")
    for topic in topics:
        told = ["not told" if value is None else str(value) for value in topic.shape]
        table.add_row(topic.name, *told, "created" if topic.created else "was there")
    return table
