"""The `callstream` command: thin, each command calls its service's composition root."""
# ruff: noqa: PLC0415 - each command loads what it needs and no more, so that it starts quickly

import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import structlog
import typer

import callstream
from callstream.contract.sizes import cut
from callstream.runtime.logs import escaped, get_logger
from callstream.runtime.settings import SettingsError
from callstream.tasks import RegistryError
from cli.dead_letters.commands import dead_letters_app
from cli.errors import CommandError
from cli.start import start

log = get_logger()
app = typer.Typer(
    help="REST in, Kafka through, callback out. Settings come from the environment or .env: `callstream settings`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
broker_app = typer.Typer(help="A Kafka broker in the foreground, for trying out and for tests.", no_args_is_help=True)
app.add_typer(broker_app, name="broker")
app.add_typer(dead_letters_app, name="dead-letters")

Port = Annotated[int, typer.Option(min=1, max=65_535)]
HealthPort = Annotated[int | None, typer.Option(min=1, max=65_535, help="Serve health here; else nowhere.")]
Host = Annotated[str, typer.Option(help="Address to listen on.")]


def main() -> None:
    """Run the command; why it ended is said in a line, and of what nobody expected the debug log has the traceback."""
    # The first process of a container is deaf to SIGTERM until it has a handler; services set their own when they run.
    signal.signal(signal.SIGTERM, lambda number, _: os._exit(128 + number))
    try:
        app()
    except (SettingsError, RegistryError) as error:
        sys.exit(_complain(error, 2))
    except CommandError as error:
        sys.exit(_complain(error, error.exit_code))
    except Exception as error:
        if structlog.is_configured():  # or the level is not known yet
            log.debug("command.failed", exc_info=error)
        sys.exit(_complain(f"failed: {escaped(cut(f'{type(error).__name__}: {error}'))}", 1))


def _complain(error: Exception | str, exit_code: int) -> int:
    sys.stderr.write(f"{error}\n")
    return exit_code


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - Typer's signature of a callback
    if wanted:
        typer.echo(f"callstream {callstream.__version__}")
        raise typer.Exit


@app.callback()
def options(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Take the options that stand before a command."""


@broker_app.command()
def apache(
    port: Port = 9092,
    data: Annotated[Path | None, typer.Option(help="Keep the data in this directory.", file_okay=False)] = None,
) -> None:
    """Apache Kafka, one node, without Docker (needs Java and Maven)."""
    from cli.brokers import run_apache

    start()
    run_apache(port, data)


@broker_app.command()
def embedded(port: Port = 9092) -> None:
    """Tansu, in memory: for trying out, never for production."""
    from cli.brokers import run_embedded

    start()
    run_embedded(port)


@app.command()
def topics(
    *,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for the broker first.")] = 0,
    replicas: Annotated[int, typer.Option(min=1, help="Refuse fewer partitions than this many processes need.")] = 1,
    production: Annotated[bool, typer.Option("--production", help="Refuse topics of one copy.")] = False,
) -> None:
    """Create every topic that is missing and check those that are there."""
    from cli.topics.command import run

    run(start(), wait, replicas, production=production)


@app.command("settings")
def show_settings(
    *,
    env_example: Annotated[bool, typer.Option("--env-example", help="Print an .env file of the defaults.")] = False,
) -> None:
    """Print every setting: variable, default, value and meaning with its unit; secrets are masked."""
    from cli import settings_table

    if env_example:
        typer.echo(settings_table.env_example(), nl=False)
    else:
        settings_table.print_table(start())


@app.command()
def asyncapi(*, json: Annotated[bool, typer.Option("--json", help="Print JSON in place of YAML.")] = False) -> None:
    """Print the contract of the topics, as an AsyncAPI 3.0 document."""
    from cli.contract import print_asyncapi

    print_asyncapi(start(), as_json=json)


@app.command()
def schemas(
    out: Annotated[Path, typer.Option(help="Write into this directory.", file_okay=False)],
) -> None:
    """Write the contract's JSON Schemas, a file each."""
    from cli.contract import write_schemas

    start()
    write_schemas(out)


@app.command()
def gateway(
    port: Port = 8000,
    host: Host = "127.0.0.1",
    workers: Annotated[int, typer.Option(min=1, help="Processes that share the port.")] = 1,
    health_port: Annotated[
        int | None, typer.Option(min=1, max=65_535, help="Serve health here as well, whatever the other port suffers.")
    ] = None,
) -> None:
    """REST in: take requests and store them in Kafka."""
    from cli.listening import listen
    from gateway.main import run

    run(start(), listen(host, port), workers, None if health_port is None else listen(host, health_port))


@app.command()
def tasks(port: HealthPort = None, host: Host = "127.0.0.1") -> None:
    """Process requests from Kafka."""
    from cli.listening import listen
    from stream_app.tasks_main import run

    run(start(), None if port is None else listen(host, port))


@app.command()
def callbacks(port: HealthPort = None, host: Host = "127.0.0.1") -> None:
    """Callback out: deliver results to where their requests said."""
    from cli.listening import listen
    from stream_app.callbacks_main import run

    run(start(), None if port is None else listen(host, port))


@app.command()
def receiver(
    port: Port = 8001,
    host: Host = "127.0.0.1",
    secret: Annotated[
        list[str] | None,
        typer.Option(
            envvar="RECEIVER_SECRETS",
            help="Take only what one of these signed, whsec_..., repeated or comma-separated.",
        ),
    ] = None,
) -> None:
    """Show callbacks: an example of a receiver, for trying out."""
    from cli.listening import listen
    from receiver.main import run
    from receiver.verification import SecretError, listed

    start()
    try:
        run(listen(host, port), listed(secret or ()))
    except SecretError as error:
        raise CommandError(f"RECEIVER_SECRETS or --secret: {error}") from error
