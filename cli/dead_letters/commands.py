"""`callstream dead-letters`: the options of its commands."""
# ruff: noqa: PLC0415 - each command loads what it needs and no more, so that it starts quickly
# ruff: noqa: PLR0913 - each option is a parameter

import asyncio
from typing import Annotated

import typer

from cli.start import start

dead_letters_app = typer.Typer(help="What went no further, and why: look at it, replay it.", no_args_is_help=True)

Reason = Annotated[str | None, typer.Option(help="Only these: unreadable, exhausted, refused, ...")]
Receiver = Annotated[str | None, typer.Option(help="Only for this receiver: https://hooks.example.com")]
TaskType = Annotated[str | None, typer.Option("--task", help="Only of this task type: calculation")]
Since = Annotated[str | None, typer.Option(help="Only from then on: 2026-01-31T12:00 (UTC), or how long ago: 2h")]
Until = Annotated[str | None, typer.Option(help="Only before: as --since")]
Topic = Annotated[str | None, typer.Option(help="Only requests (tasks) or only results (callbacks).")]


@dead_letters_app.command("list")
def list_them(
    *,
    reason: Reason = None,
    receiver: Receiver = None,
    task: TaskType = None,
    since: Since = None,
    until: Until = None,
    topic: Topic = None,
    limit: Annotated[int | None, typer.Option(min=1, help="The newest ones, no more than this.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """List dead letters, the newest last."""
    from cli.dead_letters.filters import Asked
    from cli.dead_letters.showing import list_letters

    asked = Asked(reason, receiver, task, since, until, topic)
    asyncio.run(list_letters(start(), asked, limit, as_json=as_json))


@dead_letters_app.command()
def show(
    place: Annotated[str, typer.Argument(help="As `list` prints it: callback.dead-letters/0@42")],
    *,
    raw: Annotated[bool, typer.Option("--raw", help="Write the bytes of the value and nothing else.")] = False,
) -> None:
    """Show a dead letter: key, headers and value."""
    from cli.dead_letters.showing import show_letter

    asyncio.run(show_letter(start(), place, raw=raw))


@dead_letters_app.command("replay")
def replay_them(
    *,
    reason: Reason = None,
    receiver: Receiver = None,
    task: TaskType = None,
    since: Since = None,
    until: Until = None,
    topic: Topic = None,
    limit: Annotated[int | None, typer.Option(min=1, help="The oldest ones, no more than this.")] = None,
    rate: Annotated[int, typer.Option(min=1, help="No more than this many a second.")] = 50,
    everything: Annotated[bool, typer.Option("--all", help="Also without any filter.")] = False,
    dry: Annotated[bool, typer.Option("--dry-run", help="Count by reason and receiver; do nothing.")] = False,
) -> None:
    """Deliver results, and process requests, once more; what was delivered or replayed meanwhile is left."""
    from cli.dead_letters.filters import Asked
    from cli.dead_letters.replaying import dry_run, replay

    asked = Asked(reason, receiver, task, since, until, topic)
    settings = start()
    if dry:
        asyncio.run(dry_run(settings, asked, limit))
    else:
        replay(settings, asked, limit, rate, everything=everything)
