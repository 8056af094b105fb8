"""What a log line holds of a stranger's does nothing to who reads it."""

import errno
import io
import json
import logging
import sys
from typing import Literal

import pytest
import structlog

from callstream.runtime.logs import configure_logging, get_logger

ESC, BELL, DEL, CSI, RLO, LRI, LINE = "\x1b[2J\x1b]0;owned\x07", "\x07", "\x7f", "\x9b31m", "\u202e", "\u2066", "\u2028"
HOSTILE = f"a\r\n2026-01-01T00:00:00Z [info] process.ready\t{ESC}{BELL}{DEL}{CSI}{RLO}{LRI}{LINE}\ud83d\x00 z"


@pytest.fixture(autouse=True)
def logging_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    handlers, level = logging.root.handlers[:], logging.root.level
    monkeypatch.setattr(logging.root, "handlers", handlers)
    monkeypatch.setattr(logging.root, "level", level)


def fail(text: str = HOSTILE) -> None:
    raise ValueError(text)


def written(style: Literal["console", "json"], capsys: pytest.CaptureFixture[str]) -> str:
    """Return what is written of hostile texts in every place that a log has."""
    configure_logging("debug", style)
    structlog_log = get_logger()
    for log in (structlog_log, structlog_log.bind(task_id=HOSTILE)):
        log.info(HOSTILE, **{HOSTILE: HOSTILE}, number=1, nested={"a": [HOSTILE]}, thing=ValueError(HOSTILE), none=None)
    foreign = logging.getLogger("some.library")
    foreign.warning("a record said %s", HOSTILE)
    try:
        fail()
    except ValueError:
        structlog_log.exception("noun.failed")
        foreign.exception("it failed", stack_info=True)
    text = capsys.readouterr().err
    structlog.reset_defaults()
    return text


def test_no_control_character_reaches_the_console(capsys: pytest.CaptureFixture[str]) -> None:
    text = written("console", capsys)
    controls = {character for character in text if not character.isprintable() and character != "\n"}
    assert not controls
    assert "\\x1b[2J" in text
    assert "\\u202e" in text


def test_no_line_of_a_stranger_looks_like_one_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    lines = written("console", capsys).splitlines()
    forged = [line for line in lines if line.startswith("2026-01-01")]
    assert not forged
    assert sum(not line.startswith("  ") for line in lines) == 5, "one for each event; a traceback is indented"


def test_colours_are_the_renderers_own(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    configure_logging("info", "console")
    get_logger().info("task.processed", task_id="\x1b[31mred")
    text = capsys.readouterr().err
    structlog.reset_defaults()
    assert "\\x1b[31mred" in text
    assert "\x1b[31mred" not in text
    assert "\x1b[" in text


@pytest.mark.parametrize("style", ["console", "json"])
def test_no_text_is_written_longer_than_64_kib(
    style: Literal["console", "json"], capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("info", style)
    long = "a" * 2**20
    get_logger().info("task.processed", detail=long)
    logging.getLogger("some.library").warning("a record said %s", long)
    try:
        fail(long)
    except ValueError:
        get_logger().exception("noun.failed")
    lines = capsys.readouterr().err.splitlines()
    structlog.reset_defaults()
    assert max(map(len, lines)) < 70_000
    assert sum("characters more" in line for line in lines) == 3


class Full(io.StringIO):
    def write(self, _: str) -> int:
        raise OSError(errno.ENOSPC, "no space left on device")


@pytest.mark.parametrize("stream", [Full(), None])
@pytest.mark.parametrize("style", ["console", "json"])
def test_what_cannot_be_logged_undoes_nothing(
    style: Literal["console", "json"], stream: Full | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    configure_logging("info", style)
    try:
        fail()
    except ValueError:
        get_logger().exception("noun.failed")
        logging.getLogger("some.library").exception("it failed")
    structlog.reset_defaults()


def test_json_is_a_line_an_event_in_ascii_and_holds_texts_as_they_came(capsys: pytest.CaptureFixture[str]) -> None:
    text = written("json", capsys)
    assert text.isascii()
    assert all(character.isprintable() or character == "\n" for character in text)
    lines = [json.loads(line) for line in text.splitlines()]
    assert len(lines) == 5
    assert lines[0]["event"] == lines[0][HOSTILE] == lines[1]["task_id"] == HOSTILE
