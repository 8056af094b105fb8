"""What an operator is told of a dead letter."""

import tracemalloc

import pytest

from callstream.contract.dead_letters import Reason
from callstream.contract.ids import derived_task_id
from callstream.contract.records import Headers, Record, TopicPartition
from cli.dead_letters.letters import Letter
from cli.dead_letters.places import Place
from cli.errors import CommandError
from tests.unit.cli.dead_letters.letters import NOW, ORIGIN, TOPICS, dead_request, dead_result, result, seen


def test_a_result_tells_its_task_and_receiver() -> None:
    place = Place(TopicPartition(TOPICS.callback_dead_letters, 0), 7)
    assert seen(dead_result()) == Letter(place, NOW, "a", "data", "https://hooks.example.com:443", "exhausted", "why")


def test_nothing_is_built_of_what_is_not_shown() -> None:
    dense = result().replace(b'"results": []', b'"results": [%s[]]' % (b"[]," * 2**18))
    letter = dead_result(dense)
    tracemalloc.start()
    try:
        assert seen(letter).task_id == "a"
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * len(dense)


def test_a_request_that_cannot_be_read_tells_its_type_and_the_id_of_its_first_place() -> None:
    letter = seen(dead_request(b"\xff"))
    assert (letter.task, letter.receiver, letter.reason) == ("data", "", Reason.UNREADABLE)
    assert letter.task_id == derived_task_id(Record(ORIGIN, 42, None, b"", (), 0.0))


@pytest.mark.parametrize(
    ("headers", "task_id"),
    [
        ((("ce_id", b"mine"),), "mine"),
        ((("ce_id", b"one"), ("ce_id", b"two")), derived_task_id(Record(ORIGIN, 42, None, b"", (), 0.0))),
    ],
)
def test_a_request_is_known_by_its_own_id_if_that_can_be_read(headers: Headers, task_id: str) -> None:
    assert seen(dead_request(headers=headers)).task_id == task_id


@pytest.mark.parametrize(
    ("url", "receiver"),
    [
        ("http://a.example/x", "http://a.example:80"),
        ("HTTPS://A.example:8443", "https://a.example:8443"),
        ("http://[::1]/", "http://[::1]:80"),
        ("http://[::1", ""),
        ("http://a.example:99999/", ""),
        ("ftp://a.example", ""),
        ("", ""),
    ],
)
def test_the_receiver_is_named_where_the_url_has_one(url: str, receiver: str) -> None:
    assert seen(dead_result(result(url=url))).receiver == receiver


@pytest.mark.parametrize("value", [b"[]", b"1", b'{"task": 5, "callback_url": {}}', b"{", b"[" * 9_999, b'"\xff"'])
def test_a_value_of_any_kind_is_no_trouble(value: bytes) -> None:
    assert seen(dead_request(value)).task == "data"
    assert seen(dead_result(value)).receiver == ""


def test_what_others_wrote_there_is_listed_as_such() -> None:
    foreign = Record(TopicPartition(TOPICS.task_dead_letters, 0), 1, None, None, (), float("inf"))
    letter = seen(foreign)
    assert (letter.reason, letter.error) == ("", "not written by Callstream")


@pytest.mark.parametrize("text", ["blue.task.dead-letters/0@42", "x/12@0"])
def test_a_place_is_read_as_it_is_printed(text: str) -> None:
    assert str(Place.read(text)) == text


@pytest.mark.parametrize("text", ["", "x", "x/0", "x@1", "x/a@1", "x/0@-1", "x y/0@1", "x/0@1 ", "x/0@" + "9" * 30])
def test_what_is_no_place_is_told(text: str) -> None:
    with pytest.raises(CommandError, match=r"is no place such as callback\.dead-letters/0@42"):
        Place.read(text)
