"""What a terminal gets to see."""

import weakref
from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import chain, count

from hypothesis import given
from hypothesis import strategies as st

from callstream.contract.records import Record, TopicPartition
from cli.dead_letters.letters import Letter
from cli.dead_letters.showing import lines_of, newest, plain
from tests.unit.cli.dead_letters.letters import NOW, dead_result, seen


@given(st.text(st.characters(exclude_categories=())))
def test_nothing_that_a_terminal_obeys_gets_through(text: str) -> None:
    shown = plain(text)
    assert shown.isprintable()
    shown.encode()


def test_a_record_is_readable_whatever_bytes_are_in_it() -> None:
    record = Record(
        TopicPartition("task.dead-letters", 0),
        42,
        b"k\xff",
        '{"é": 1,\n\t"x": "\x1b[31m"}'.encode() + b"\xfe",
        (("ce_id", b"a\n"), ("none", None)),
        0.0,
    )
    assert "\n".join(lines_of(record)) == (
        "place: task.dead-letters/0@42\n"
        "key: k\\xff\n"
        "headers:\n"
        "  ce_id: a\\n\n"
        "  none: (null)\n"
        "value:\n"
        '{"é": 1,\n\t"x": "\\x1b[31m"}\\xfe'
    )


class Text(str):
    """A text whose end can be seen."""

    __slots__ = ("__weakref__",)


async def test_a_limited_list_holds_no_more_letters_than_it_shows() -> None:
    alive: set[int] = set()
    most = 0

    async def pages() -> AsyncIterator[list[Letter]]:
        nonlocal most
        for number in range(1_000):
            text = Text(number)
            alive.add(number)
            weakref.finalize(text, alive.discard, number)
            at = NOW + timedelta(seconds=(number * 617) % 1_000)  # partitions take turns: not in the order of time
            letter = seen(dead_result(offset=number))._replace(at=at, task_id=text)
            del text
            yield [letter]
            del letter
            most = max(most, len(alive))

    (shown,) = [page async for page in newest(pages(), 5)]
    assert [(letter.at - NOW).total_seconds() for letter in shown] == [995, 996, 997, 998, 999]
    assert most <= 5 + 1  # and the page of one that is being looked at


@given(st.lists(st.lists(st.integers(0, 20))), st.integers(1, 10))
async def test_a_limited_list_is_the_newest_letters_in_their_order(ages: list[list[int]], limit: int) -> None:
    offsets = count()
    every = [
        [seen(dead_result(offset=next(offsets)))._replace(at=NOW - timedelta(hours=age)) for age in page]
        for page in ages
    ]

    async def pages() -> AsyncIterator[list[Letter]]:
        for page in every:
            yield page

    (shown,) = [page async for page in newest(pages(), limit)]
    assert shown == sorted(chain(*every), key=lambda letter: (letter.at, letter.place))[-limit:]
