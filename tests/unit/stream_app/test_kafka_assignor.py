"""What the brokers keep of a group fits into a record, however many members it has."""

from types import SimpleNamespace
from typing import Any, cast

from faust.types import AppT
from yarl import URL

from stream_app.kafka_assignor import Assignor

MEMBERS, PARTITIONS, TOPICS = 100, 100, {f"topic-{number}" for number in range(8)}
RECORD = 2**20  # bytes; `message.max.bytes` as Kafka ships it


def member(number: int) -> Assignor:
    sensors = SimpleNamespace(on_assignment_start=lambda *_: {}, on_assignment_completed=lambda *_: None)
    tables = SimpleNamespace(data={}, changelog_topics=set())
    url = URL(f"http://callstream-callbacks-7d9f6c5b8d-{number:05}:6066")
    app = SimpleNamespace(tracer=None, tables=tables, conf=SimpleNamespace(canonical_url=url), sensors=sensors)
    return Assignor(cast("AppT", app))


def test_a_hundred_members_fit_into_the_groups_record() -> None:
    members = {f"callstream-callbacks-{number:036}": member(number) for number in range(MEMBERS)}
    cluster = SimpleNamespace(partitions_for_topic=lambda _: set(range(PARTITIONS)))
    for _ in range(2):  # the first assignment, and then any other
        said = {name: each.metadata(TOPICS) for name, each in members.items()}
        given = next(iter(members.values())).assign(cast("Any", cluster), said)
        for name, each in members.items():
            each.on_assignment(given[name])
    size = sum(len(said[name].encode()) + len(given[name].encode()) + 2 * len(name) for name in members)
    shared_out = [place for each in given.values() for _, partitions in each.assignment for place in partitions]
    assert len(shared_out) == PARTITIONS * len(TOPICS)
    assert size < RECORD / 4
