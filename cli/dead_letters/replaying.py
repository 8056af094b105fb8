"""`callstream dead-letters replay`: dead letters become what they were, once each, and that is noted after each."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from callstream.contract.dead_letters import opened
from callstream.contract.records import OutgoingRecord, Record
from callstream.contract.topics import Topics
from callstream.runtime.settings import Settings
from callstream.tasks import load_tasks
from cli.dead_letters.filters import Asked, Filters
from cli.dead_letters.letters import Letter, letter_of
from cli.dead_letters.pace import Pace
from cli.dead_letters.places import Place
from cli.dead_letters.planning import Planner
from cli.dead_letters.producing import TooLargeError, producer_of
from cli.dead_letters.reading import Source, source_of, spans_of
from cli.dead_letters.restoring import Skip, note, restored
from cli.dead_letters.showing import print_rows
from cli.errors import CommandError

_ALWAYS_TOLD = (Skip.DELIVERED, Skip.REPLAYED)
# What a replay refuses, and an operator may have to see to, beside what needs none any more.
_NAMED = (Skip.CUT, Skip.EMPTY, Skip.DAMAGED, Skip.FOREIGN, Skip.UNREAD, Skip.HOMELESS, Skip.TOO_LARGE)
_MOST_NAMED = 20  # of a kind; the count tells how many more there are
_MOST_COUNTED = 1_000  # reasons and receivers of a dry run, each by itself
_OTHERS = ("", "(others)")
# How many there are is not known before the last is planned.
_PROGRESS = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
_INTERRUPTED = 130  # as a shell has it


@dataclass
class Tally:
    """What was done so far."""

    replayed: int = 0
    skipped: Counter[Skip] = field(default_factory=Counter)

    def leave(self, left: Iterable[tuple[Place, Skip]]) -> None:
        """Count letters that are not replayed, and why; the first of each kind that is refused are named."""
        for place, skip in left:
            self.skipped[skip] += 1
            if skip in _NAMED and self.skipped[skip] <= _MOST_NAMED:
                typer.echo(f"{place} is not replayed: {skip}", err=True)

    def __str__(self) -> str:
        told = [skip for skip in Skip if self.skipped[skip] or skip in _ALWAYS_TOLD]
        skipped = [f"skipped as {skip} {self.skipped[skip]}" for skip in told]
        return f"replayed {self.replayed}, {', '.join(skipped)}"


def replay(settings: Settings, asked: Asked, limit: int | None, rate: int, *, everything: bool) -> None:
    """Replay what is asked for, at most `rate` a second, and say what was done.

    Raises:
        CommandError: an option cannot be understood, the broker fails, or we are stopped.
        RegistryError: the installed task types do not fit together.
    """
    filters = Filters.read(asked, datetime.now(UTC))
    if not filters.given and not everything:
        raise CommandError(
            "say which dead letters are meant, by a filter, or --all; --dry-run shows how many there are"
        )
    tally = Tally()
    try:
        asyncio.run(_until_stopped(_replay(settings, filters, limit, Pace(rate), tally)))
    except CommandError as error:
        done = f"{tally}; {_how_to_go_on(filters)}" if tally.replayed else "nothing was replayed"
        raise CommandError(f"{error}; {done}", error.exit_code) from error
    typer.echo(tally)


def _how_to_go_on(filters: Filters) -> str:
    """Say it with times that stay: "2h ago" is another one by then."""
    times = {"--since": filters.since, "--until": filters.until}
    fixed = "".join(f" {option} {time.isoformat()}" for option, time in times.items() if time)
    return f"go on by the same command{fixed and ' with' + fixed}"


async def dry_run(settings: Settings, asked: Asked, limit: int | None) -> None:
    """Print what a replay would do.

    Raises:
        CommandError: an option cannot be understood, or the broker fails.
        RegistryError: the installed task types do not fit together.
    """
    filters = Filters.read(asked, datetime.now(UTC))
    tally = Tally()
    counts: Counter[tuple[str, str]] = Counter()
    async with source_of(settings) as source:
        async for letter, _ in _found(source, settings.topic_names, filters, limit, tally):
            what = letter.reason, letter.receiver
            counts[what if what in counts or len(counts) < _MOST_COUNTED else _OTHERS] += 1
            tally.replayed += 1
    print_rows(("count", "reason", "receiver"), [(str(count), *what) for what, count in counts.most_common()])
    typer.echo(f"nothing was done; without --dry-run: {tally}")


async def _replay(settings: Settings, filters: Filters, limit: int | None, pace: Pace, tally: Tally) -> None:
    topics = settings.topic_names
    console = Console(stderr=True)
    async with source_of(settings) as source, producer_of(settings) as producer:
        replayer = Replayer(producer, topics, tally)
        with Progress(*_PROGRESS, console=console, disable=not console.is_terminal) as progress:
            bar = progress.add_task("replaying", total=limit)
            async for letter, record in _found(source, topics, filters, limit, tally):
                await pace.turn()
                await unbroken(replayer.replay(letter, record))
                progress.advance(bar)


async def _found(
    source: Source, topics: Topics, filters: Filters, limit: int | None, tally: Tally
) -> AsyncIterator[tuple[Letter, Record]]:
    """Read the letters of each plan once more, now with all that is in them; count those that are left."""
    async for plan in Planner(source, topics, load_tasks()).plans(filters, datetime.now(UTC), limit):
        tally.leave(plan.left)
        left = set(plan.places)
        async for record in source.read(spans_of(left)):
            if (place := Place.of(record)) in left:
                left.remove(place)
                yield letter_of(record, topics), record
        tally.skipped[Skip.GONE] += len(left)


class Producer(Protocol):
    async def produce(self, record: OutgoingRecord) -> None:
        """Return when `record` is stored; raise TooLargeError if it cannot be."""


class Replayer:
    def __init__(self, producer: Producer, topics: Topics, tally: Tally) -> None:
        self._producer = producer
        self._topics = topics
        self._tally = tally

    async def replay(self, letter: Letter, record: Record) -> None:
        """Replay a letter of a plan, and note it: a death between the two repeats this one letter."""
        dead = opened(record)
        if dead is None:
            return
        try:
            await self._producer.produce(restored(dead, self._topics))
        except TooLargeError:
            self._tally.leave([(letter.place, Skip.TOO_LARGE)])
            return
        await self._producer.produce(note(letter, self._topics, datetime.now(UTC)))
        self._tally.replayed += 1


async def unbroken(work: Coroutine[None, None, None]) -> None:
    """Await `work` to its end also when we are cancelled once; the second time cancels it, too."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


async def _until_stopped(work: Coroutine[None, None, None]) -> None:
    """Run `work`; SIGTERM and Ctrl-C cancel it."""
    task = asyncio.ensure_future(work)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        raise CommandError("stopped", _INTERRUPTED) from None
