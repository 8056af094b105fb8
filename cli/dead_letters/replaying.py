"""`callstream dead-letters replay`: dead letters become what they were, once each, and that is noted after each."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

import typer
from rich.console import Console
from rich.progress import Progress

from callstream.contract.dead_letters import opened
from callstream.contract.records import OutgoingRecord, Record
from callstream.contract.topics import Topics
from callstream.runtime.settings import Settings
from cli.dead_letters.filters import Asked, Filters
from cli.dead_letters.letters import Letter
from cli.dead_letters.pace import Pace
from cli.dead_letters.places import Place
from cli.dead_letters.planning import Plan, planned
from cli.dead_letters.producing import TooLargeError, producer_of
from cli.dead_letters.reading import Source, source_of
from cli.dead_letters.restoring import Skip, note, restored
from cli.dead_letters.showing import print_rows
from cli.errors import CommandError

_ALWAYS_TOLD = (Skip.DELIVERED, Skip.REPLAYED)
_INTERRUPTED = 130  # as a shell has it


@dataclass
class Tally:
    """What was done so far."""

    replayed: int = 0
    skipped: Counter[Skip] = field(default_factory=Counter)

    def __str__(self) -> str:
        told = [skip for skip in Skip if self.skipped[skip] or skip in _ALWAYS_TOLD]
        skipped = [f"skipped as {skip} {self.skipped[skip]}" for skip in told]
        return f"replayed {self.replayed}, {', '.join(skipped)}"


def replay(settings: Settings, asked: Asked, limit: int | None, rate: int, *, everything: bool) -> None:
    """Replay what is asked for, at most `rate` a second, and say what was done.

    Raises:
        CommandError: an option cannot be understood, the broker fails, or we are stopped.
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
    """
    now = datetime.now(UTC)
    filters = Filters.read(asked, now)
    async with source_of(settings) as source:
        plan = await planned(source, settings.topic_names, filters, now, limit)
    counts = Counter((letter.reason, letter.receiver) for letter in plan.letters)
    print_rows(("count", "reason", "receiver"), [(str(count), *what) for what, count in counts.most_common()])
    typer.echo(f"nothing was done; without --dry-run: {Tally(len(plan.letters), plan.skipped)}")


async def _replay(settings: Settings, filters: Filters, limit: int | None, pace: Pace, tally: Tally) -> None:
    topics = settings.topic_names
    console = Console(stderr=True)
    async with source_of(settings) as source, producer_of(settings) as producer:
        plan = await planned(source, topics, filters, datetime.now(UTC), limit)
        tally.skipped.update(plan.skipped)
        replayer = Replayer(producer, topics, tally)
        with Progress(console=console, disable=not console.is_terminal) as progress:
            bar = progress.add_task("replaying", total=len(plan.letters))
            async for letter, record in _found(plan, source, tally):
                await pace.turn()
                await unbroken(replayer.replay(letter, record))
                progress.advance(bar)


async def _found(plan: Plan, source: Source, tally: Tally) -> AsyncIterator[tuple[Letter, Record]]:
    """Read the letters of a plan once more, now with all that is in them: there may be more than memory holds."""
    if not plan.letters:
        return
    left = {letter.place: letter for letter in plan.letters}
    names = sorted({place.partition.topic for place in left})
    async for record in source.scan(names, plan.letters[0].at):
        if (letter := left.pop(Place.of(record), None)) is not None:
            yield letter, record
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
            self._tally.skipped[Skip.TOO_LARGE] += 1
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
