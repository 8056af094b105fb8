"""What a terminal gets to see."""

from hypothesis import given
from hypothesis import strategies as st

from callstream.contract.records import Record, TopicPartition
from cli.dead_letters.showing import lines_of, plain


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
