"""`callstream dead-letters list` and `show`: what came from outside, as a terminal may see it."""

import json
import sys
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from heapq import heappush, heappushpop

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from callstream.contract.records import Record
from callstream.runtime.settings import Settings
from cli.dead_letters.filters import Asked, Filters
from cli.dead_letters.letters import Letter, letter_of
from cli.dead_letters.ordering import Ordered
from cli.dead_letters.places import Place
from cli.dead_letters.reading import source_of
from cli.errors import CommandError

_PAGE = 1_000  # letters that are printed at once, on a terminal as a table
_COLUMNS = ("place", "time", "task_id", "task", "receiver", "reason", "error")


async def list_letters(settings: Settings, asked: Asked, limit: int | None, *, as_json: bool) -> None:
    """Print the letters that are asked for, the newest last; with a `limit`, the newest of them.

    Raises:
        CommandError: an option cannot be understood, or the broker fails.
    """
    filters = Filters.read(asked, datetime.now(UTC))
    topics = settings.topic_names

    def view(record: Record) -> Letter | None:
        letter = letter_of(record, topics)
        return letter if filters.match(letter) else None

    async with source_of(settings) as source:
        spans = await source.spans(filters.topics(topics), filters.since)
        pages = Ordered(source, spans, view).pages(_PAGE)
        async for page in pages if limit is None else newest(pages, limit):
            _print(page, as_json=as_json)


def _print(letters: Iterable[Letter], *, as_json: bool) -> None:
    rows = map(_texts, letters)
    if as_json:
        for row in rows:
            typer.echo(json.dumps(dict(zip(_COLUMNS, row, strict=True))))
    else:
        print_rows(_COLUMNS, rows)


async def show_letter(settings: Settings, text: str, *, raw: bool) -> None:
    """Print the dead letter at a place, or write the bytes of its value and nothing else.

    Raises:
        CommandError: there is none, or the broker fails.
    """
    place = Place.read(text)
    topic, partition = place.partition
    known = settings.topic_names.dead_letters
    if topic not in known:
        raise CommandError(f"{topic} is no topic of dead letters; they are {' and '.join(known)}")
    async with source_of(settings) as source:
        record = await source.one(place) if partition in source.topics.get(topic, ()) else None
    if record is None:
        raise CommandError(f"there is no dead letter at {place}", exit_code=1)
    if raw:
        sys.stdout.buffer.write(record.value or b"")
        sys.stdout.buffer.flush()
    else:
        typer.echo("\n".join(lines_of(record)))


async def newest(pages: AsyncIterator[list[Letter]], limit: int) -> AsyncIterator[list[Letter]]:
    """Yield the newest letters as one page, the newest last, without ever holding more than those, and a page."""
    heap: list[tuple[datetime, Letter]] = []  # the oldest first, so that it is what goes; no two share their place
    async for page in pages:
        for letter in page:
            if len(heap) < limit:
                heappush(heap, (letter.at, letter))
            else:
                heappushpop(heap, (letter.at, letter))
    yield [letter for _, letter in sorted(heap)]


def print_rows(names: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table, or lines of tab-separated columns where no terminal shows it."""
    console = Console()
    if not console.is_terminal:
        for row in rows:
            typer.echo("\t".join(map(plain, row)))
        return
    table = Table(*names)
    for row in rows:
        table.add_row(*(Text(plain(text)) for text in row))
    console.print(table)


def lines_of(record: Record) -> Iterator[str]:
    """Give a whole record, readable; bytes that are not UTF-8 are escaped."""
    yield f"place: {Place.of(record)}"
    if record.gap is not None:
        yield f"damaged, until offset {record.gap.until - 1}: {plain(record.gap.why)}"
    yield f"key: {_shown(record.key)}"
    yield "headers:"
    for name, value in record.headers:
        yield f"  {plain(name)}: {_shown(value)}"
    yield "value:"
    yield _shown(record.value, keep="\n\t")


def plain(text: str, keep: str = "") -> str:
    """Return `text` with what is no printable character escaped: it could be a command to the terminal."""
    return "".join(
        char if char.isprintable() or char in keep else char.encode("unicode_escape").decode() for char in text
    )


def _shown(raw: bytes | None, keep: str = "") -> str:
    return "(null)" if raw is None else plain(raw.decode("utf-8", "backslashreplace"), keep)


def _texts(letter: Letter) -> list[str]:
    return [str(letter.place), letter.at.isoformat(timespec="milliseconds"), *letter[2:]]
