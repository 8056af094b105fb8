"""Which dead letters an operator means."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callstream.contract.dead_letters import Reason
from cli.dead_letters.filters import Asked, Filters, moment
from cli.errors import CommandError
from tests.unit.cli.dead_letters.letters import NOW, TOPICS, dead_request, dead_result, result, seen


@pytest.mark.parametrize(
    ("asked", "matches"),
    [
        (Asked(), True),
        (Asked(reason="exhausted"), True),
        (Asked(reason="crashed the worker"), False),
        (Asked(receiver="https://HOOKS.example.com/elsewhere"), True),
        (Asked(receiver="http://hooks.example.com"), False),
        (Asked(task="data"), True),
        (Asked(task="calculation"), False),
        (Asked(since="2026-01-31T12:00"), True),
        (Asked(since="2026-01-31T12:00:00.001"), False),
        (Asked(until="2026-01-31T12:00"), False),
        (Asked(until="2026-01-31T14:00:01+02:00"), True),
        (Asked(since="1h", until="0s"), False),
        (Asked(reason="exhausted", task="calculation"), False),
    ],
)
def test_a_letter_is_meant_if_every_filter_fits(asked: Asked, matches: bool) -> None:  # noqa: FBT001 - a parameter
    assert Filters.read(asked, NOW).match(seen(dead_result())) is matches


@pytest.mark.parametrize(
    ("topic", "names"),
    [
        ("tasks", [TOPICS.task_dead_letters]),
        ("callbacks", [TOPICS.callback_dead_letters]),
        (None, TOPICS.dead_letters),
    ],
)
def test_the_topic_says_what_is_read(topic: str | None, names: list[str]) -> None:
    assert Filters.read(Asked(topic=topic), NOW).topics(TOPICS) == names


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        (Asked(reason="tired"), "--reason: 'tired' is none of 'unreadable', "),
        (Asked(receiver="hooks.example.com"), "--receiver: 'hooks.example.com' is no receiver such as"),
        (Asked(receiver="http://[::1"), "--receiver: "),
        (Asked(topic="results"), "--topic: 'results' is none of 'tasks', 'callbacks'"),
        (Asked(since="yesterday"), "--since: 'yesterday' is neither a time"),
        (Asked(until="9" * 12 + "d"), "--until: "),
        (Asked(since="99999999d"), "--since: "),
        (Asked(since=""), "--since: "),
    ],
)
def test_what_cannot_be_understood_is_one_line_and_exit_code_2(asked: Asked, text: str) -> None:
    with pytest.raises(CommandError) as told:
        Filters.read(asked, NOW)
    assert str(told.value).startswith(text)
    assert (len(str(told.value).splitlines()), told.value.exit_code) == (1, 2)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("2026-01-30", datetime(2026, 1, 30, tzinfo=UTC)),
        ("20260130", datetime(2026, 1, 30, tzinfo=UTC)),
        ("2026-01-30T12:00:00+02:00", datetime(2026, 1, 30, 10, tzinfo=UTC)),
        ("90", NOW - timedelta(seconds=90)),
        ("1.5h", NOW - timedelta(minutes=90)),
    ],
)
def test_a_time_is_one_of_the_calendar_or_how_long_ago(text: str, read: datetime) -> None:
    assert moment("--since", text, NOW) == read


def test_only_an_empty_question_means_everything() -> None:
    assert not Filters.read(Asked(), NOW).given
    assert Filters.read(Asked(until="1h"), NOW).given
    assert Filters.read(Asked(topic="tasks"), NOW).given


_TIMES = st.datetimes(datetime(1980, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds


@given(_TIMES, _TIMES)
def test_two_spans_that_meet_mean_every_letter_once(middle: datetime, at: datetime) -> None:
    letter = seen(dead_result())._replace(at=at)
    assert Filters(until=middle).match(letter) != Filters(since=middle).match(letter)


@given(_TIMES)
def test_the_moment_of_a_letter_itself_is_the_first_of_since(at: datetime) -> None:
    assert Filters(since=at).match(seen(dead_result())._replace(at=at))


def test_a_request_is_found_by_its_type_and_receiver_too() -> None:
    letter = seen(dead_request(result(url="http://r.example")))
    found = Filters.read(Asked(receiver="http://r.example:80", task="data", reason=Reason.UNREADABLE), NOW)
    assert found.match(letter)
