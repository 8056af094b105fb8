"""Logging: one wide line a unit of work, to stderr, our own and the libraries' alike."""

import io
import logging
import re
import sys
from contextlib import suppress
from typing import Literal, TextIO, cast

import structlog

Logger = structlog.typing.FilteringBoundLogger

# What moves a terminal's cursor, sets its title, types into it, ends a line or turns text around: C0 and C1 controls
# with DEL, separators of lines, Unicode's controls of direction; and half a pair, which has no encoding.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_LONGEST = 64 * 1024  # characters of a text, a traceback of nested errors among them
_BLOCKS = ("exception", "stack")  # as the renderer names what has several lines


class _Stream(io.TextIOBase):
    """Writes to another stream what can be written, and forgets the rest.

    A disk that is full, or a pipe that nobody reads, is no reason to undo what is told of: it has been done.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream  # None where the process was started without

    def write(self, text: str) -> int:
        if self._stream is not None:
            with suppress(OSError, ValueError):  # the latter if it is closed
                self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        if self._stream is not None:
            with suppress(OSError, ValueError):
                self._stream.flush()


def configure_logging(level: Literal["debug", "info", "warning", "error"], style: Literal["console", "json"]) -> None:
    """Send everything through structlog to stderr; libraries speak from warnings upwards."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _cut_texts,
    ]
    renderers = _json() if style == "json" else _console()
    stream = cast("TextIO", _Stream(sys.stderr))
    threshold = getattr(logging, level.upper())
    structlog.configure(
        processors=[*shared, structlog.processors.UnicodeDecoder(), *renderers],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(threshold, logging.WARNING), force=True)


def _cut_texts(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Cut what is longer than any text of ours: a library's error may hold all that a stranger sent."""
    return {key: _cut(value) if isinstance(value, str) else value for key, value in event.items()}


def _cut(text: str) -> str:
    left = len(text) - _LONGEST
    return text if left <= 0 else f"{text[:_LONGEST]}... and {left} characters more"


def _json() -> list[structlog.typing.Processor]:
    return [structlog.processors.JSONRenderer()]  # in ASCII, and what JSON escapes


def _console() -> list[structlog.typing.Processor]:
    plain = structlog.dev.plain_traceback  # the only one that is asked for is in the event already
    return [
        escape_controls,
        structlog.dev.ConsoleRenderer(colors=bool(sys.stderr and sys.stderr.isatty()), exception_formatter=plain),
    ]


def escape_controls(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Escape control characters, for any text may be a stranger's; a traceback keeps its lines, all of them indented.

    So nothing that a log holds acts on a terminal, and no line that a stranger wrote looks like one of ours.
    """
    return {escaped(key): _blocks(value) if key in _BLOCKS else _printable(value) for key, value in event.items()}


def escaped(text: str) -> str:
    """Return the text as one line that acts on no terminal."""
    return _CONTROLS.sub(lambda found: repr(found[0])[1:-1], text)


def _printable(value: object) -> object:
    """Return the value as it may be rendered; what is neither text nor a number becomes text."""
    if isinstance(value, bool | int | float) or value is None:
        return value
    return escaped(value if isinstance(value, str) else repr(value))


def _blocks(value: object) -> str:
    return "\n".join(f"  {escaped(line)}" for line in str(value).split("\n"))


def get_logger() -> Logger:
    logger: Logger = structlog.get_logger()
    return logger
