"""A topic that is read and goes is told once, each time; what nobody answers is no topic that is gone."""

from types import SimpleNamespace
from typing import Any

import structlog
from aiokafka.cluster import ClusterMetadata
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.errors import UnknownTopicOrPartitionError as Unknown
from aiokafka.protocol.metadata import MetadataResponse_v1

from stream_app.kafka_presence import Presence

HERE, GOES, NEVER = "calculation.requests", "data.requests", "pictures.requests"
READ = {HERE, GOES, NEVER}


class Client:
    """Stands for aiokafka's consumer, before a broker that has `topics`, each with so many partitions."""

    def __init__(self) -> None:
        self._subscription = SubscriptionState()
        self._client: Any = SimpleNamespace(cluster=ClusterMetadata())
        self.presence = Presence(self)
        self.told: list[str] = []

    def subscribe(self) -> None:
        self._subscription.subscribe(READ)

    def answered(self, brokers: int = 1, **topics: int) -> None:
        """Take an answer of the broker, and note what is told of it."""
        there = {name.replace("_", "."): count for name, count in topics.items()}
        answer = MetadataResponse_v1(
            [(number, "kafka", 9092, None) for number in range(brokers)],
            0,
            [
                (
                    0 if name in there else Unknown.errno,
                    name,
                    False,
                    [(0, n, 0, [0], [0]) for n in range(there.get(name, 0))],
                )
                for name in sorted(READ)
            ],
        )
        with structlog.testing.capture_logs() as logs:
            self._client.cluster.update_metadata(answer)
        self.told += [each["topic"] for each in logs if each["event"] == "topic.unknown"]


async def test_a_topic_that_goes_is_told_once_and_again_when_it_came_back_and_goes_again() -> None:
    client = Client()
    client.subscribe()
    client.answered(calculation_requests=4, data_requests=4)
    client.answered(calculation_requests=4)
    client.answered(calculation_requests=4)
    assert client.told == [GOES]
    client.answered(calculation_requests=4, data_requests=4)
    client.answered(calculation_requests=4)
    assert client.told == [GOES, GOES]


async def test_a_topic_that_has_fewer_partitions_now_is_told_too() -> None:
    client = Client()
    client.subscribe()
    client.answered(calculation_requests=4)
    client.answered(calculation_requests=2)
    assert client.told == [HERE]


async def test_what_is_not_known_yet_is_not_told() -> None:
    client = Client()
    client.answered(calculation_requests=4, data_requests=4)  # before anything is read
    client.answered()
    client.subscribe()
    client.answered()
    client.answered(calculation_requests=4)
    assert not client.told


async def test_a_broker_that_does_not_answer_takes_no_topic_away() -> None:
    client = Client()
    client.subscribe()
    client.answered(calculation_requests=4)
    client._client.cluster.failed_update(None)
    client.answered(brokers=0)  # one that has just begun, and knows of none
    client.answered(calculation_requests=4)
    assert not client.told
