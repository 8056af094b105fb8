"""The topics of a cluster, through aiokafka's admin client."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaConnectionError, KafkaError, NoError, TopicAlreadyExistsError, for_code

from callstream.contract.topics import Shape
from callstream.runtime.kafka import client_options
from callstream.runtime.settings import Settings, variable
from cli.errors import CommandError
from cli.reach import answers_within
from cli.topics.checks import CHECKED, Topic, config_of

_COPIES = "default.replication.factor"
_VISIBLE = 10  # seconds until every broker must show a topic that was created
_LOOK_AGAIN = 0.1  # seconds


class Cluster:
    def __init__(self, admin: AIOKafkaAdminClient) -> None:
        self._admin = admin

    async def names(self) -> set[str]:
        return set(await self._admin.list_topics())

    async def default_copies(self) -> int | None:
        """Return how many copies a new topic has where none are asked for, None if the broker does not tell."""
        broker = (await self._admin.describe_cluster())["controller_id"]
        try:
            answers = await self._admin.describe_configs(
                [ConfigResource(ConfigResourceType.BROKER, str(broker), {_COPIES: None})]
            )
        except KafkaConnectionError:  # the embedded broker hangs up when it is asked this
            return None
        found = [entry[1] for answer in answers for (*_, entries) in answer.resources for entry in entries]
        return int(found[0]) if found else None

    async def create(self, wanted: Mapping[str, Shape], copies: int | None) -> set[str]:
        """Create these topics, which will have so many copies; return those that this call created.

        Raises:
            CommandError: the broker does not create one.
        """
        if not wanted:
            return set()
        answer = await self._admin.create_topics([_new_topic(name, shape, copies) for name, shape in wanted.items()])
        created = set()
        for name, code, why in answer.topic_errors:
            error = for_code(code)
            if error is NoError:
                created.add(name)
            elif error is not TopicAlreadyExistsError:  # another run may be at it too
                text = f"the broker does not create the topic {name}: {error.__name__}: {why}"
                raise CommandError(text, exit_code=1)
        return created

    async def shown(self, wanted: Mapping[str, Shape]) -> dict[str, Topic]:
        """Return the wanted topics as they are, when the broker shows them all.

        Raises:
            CommandError: the broker does not let us see how one is configured.
        """
        async with asyncio.timeout(_VISIBLE):
            while not wanted.keys() <= (topics := await self._topics()).keys():  # noqa: ASYNC110 - a broker calls nobody
                await asyncio.sleep(_LOOK_AGAIN)
        configs = await self._configs(list(wanted))
        return {name: topics[name]._replace(config=configs.get(name, {})) for name in wanted}

    async def _topics(self) -> dict[str, Topic]:
        topics = await self._admin.describe_topics()
        return {
            topic["topic"]: Topic(
                len(topic["partitions"]), min(len(part["replicas"]) for part in topic["partitions"]), {}
            )
            for topic in topics
            if topic["partitions"]
        }

    async def _configs(self, names: list[str]) -> dict[str, dict[str, str]]:
        wanted = dict.fromkeys(CHECKED)
        try:
            answers = await self._admin.describe_configs(
                [ConfigResource(ConfigResourceType.TOPIC, name, wanted) for name in names]
            )
        except KafkaConnectionError:  # the embedded broker hangs up when it is asked this
            return {}
        found = {}
        for answer in answers:
            for code, _, _, name, entries in answer.resources:
                if (error := for_code(code)) is not NoError:
                    text = f"the broker does not tell how the topic {name} is configured: {error.__name__}"
                    raise CommandError(text, exit_code=1)
                found[name] = {entry[0]: entry[1] for entry in entries if entry[0] in wanted}
        return found


@asynccontextmanager
async def cluster_of(settings: Settings, wait: float) -> AsyncIterator[Cluster]:
    """Connect for the length of the block, waiting up to `wait` seconds for the broker first.

    Raises:
        CommandError: the broker is away, or fails within the block.
    """
    options = client_options(settings, "topics")
    bootstrap = settings.kafka.bootstrap
    if not await answers_within(wait, **options):
        where = variable(("kafka", "bootstrap"))
        raise CommandError(f"no broker answers at {bootstrap} ({where})", exit_code=1)
    admin = AIOKafkaAdminClient(**options)
    try:
        await admin.start()
        yield Cluster(admin)
    except (KafkaError, OSError, TimeoutError) as error:
        raise CommandError(f"the broker at {bootstrap} failed: {error!r}", exit_code=1) from error
    finally:
        await admin.close()


def _new_topic(name: str, shape: Shape, copies: int | None) -> NewTopic:
    topic = NewTopic(name, shape.partitions, 1, topic_configs=config_of(shape, copies))
    topic.replication_factor = shape.replicas  # its constructor does not know -1, the broker's default
    return topic
