"""What a topic has to be like."""

import pytest

from callstream.contract.topics import Shape
from cli.topics.checks import Topic, config_of, differences

WANTS = Shape(partitions=6, replicas=-1, largest=1_000, retention=5_000)
RIGHT = config_of(WANTS, 3)


def test_two_copies_must_have_a_record_where_there_are_three_or_more() -> None:
    assert {copies: config_of(WANTS, copies).get("min.insync.replicas") for copies in (None, 1, 2, 3, 5)} == {
        None: None,
        1: None,
        2: None,
        3: "2",
        5: "2",
    }


@pytest.mark.parametrize(
    "has",
    [
        Topic(6, 3, RIGHT),
        Topic(6, 3, {}),  # of a broker that does not tell
        Topic(6, 3, RIGHT | {"retention.ms": "-1", "min.insync.replicas": "3", "max.message.bytes": "2000"}),
        Topic(6, 2, config_of(WANTS, 2) | {"min.insync.replicas": "1"}),
        Topic(6, 1, config_of(WANTS, 1) | {"min.insync.replicas": "1"}),
    ],
)
def test_what_is_as_it_should_be_is_no_difference(has: Topic) -> None:
    assert list(differences("t", WANTS, has)) == []


@pytest.mark.parametrize(
    ("has", "line"),
    [
        (Topic(5, 3, RIGHT), "t has 5 partitions, "),
        (Topic(6, 3, RIGHT | {"cleanup.policy": "compact"}), "t has cleanup.policy=compact, and must have delete"),
        (Topic(6, 3, RIGHT | {"cleanup.policy": "compact,delete"}), "t has cleanup.policy=compact,delete, and must"),
        (Topic(6, 3, RIGHT | {"cleanup.policy": ""}), "t has cleanup.policy=, and must have delete"),
        (Topic(6, 3, RIGHT | {"retention.bytes": "0"}), "t has retention.bytes=0, and must have -1"),
        (Topic(6, 3, RIGHT | {"retention.ms": "4999"}), "t has retention.ms=4999, "),
        (Topic(6, 3, RIGHT | {"max.message.bytes": "999"}), "t has max.message.bytes=999, "),
        (Topic(6, 3, RIGHT | {"min.insync.replicas": "1"}), "t has min.insync.replicas=1 of 3 replicas, and must"),
        (Topic(6, 1, RIGHT), "t has min.insync.replicas=2 and 1 replicas: nothing could be stored"),
    ],
)
def test_each_difference_is_a_line_that_names_it(has: Topic, line: str) -> None:
    (found,) = differences("t", WANTS, has)
    assert found.startswith(line)
    assert "Kafka's tools" in found
