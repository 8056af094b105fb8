"""`python -m demo`: the seed's two examples, answered by callback, on an embedded broker."""

import asyncio
import signal
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from cli.brokers import embedded_binary
from cli.errors import CommandError
from demo import examples
from demo.failure import StepError
from demo.installation import installed
from demo.journey import journeys
from demo.processes import CALLSTREAM
from demo.screen import Screen

_TAIL = 30  # lines of a log
_INTERRUPTED = 130


def main(program: str = CALLSTREAM) -> int:
    """Run the demo, each `callstream` command by `program`; return the exit code."""
    try:
        embedded_binary()
    except CommandError as error:
        sys.stderr.write(f"No demo: {error}; all processes at once: make up BROKER=apache|HOST:PORT\n")
        return 2
    screen = Screen(Console(highlight=False))
    with tempfile.TemporaryDirectory(prefix="callstream-demo-") as directory:
        try:
            asyncio.run(_stoppable(screen, Path(directory), program))
        except StepError as failure:
            _explain(screen, failure)
            return 1
        except asyncio.CancelledError:
            screen.bad("stopped")
            return _INTERRUPTED
    screen.good("\nBoth callbacks came, with the right values.")
    return 0


async def _stoppable(screen: Screen, directory: Path, program: str) -> None:
    work = asyncio.create_task(_demonstrate(screen, directory, program))
    for number in (signal.SIGINT, signal.SIGTERM):  # Ctrl-C too: a background job inherits it as ignored
        asyncio.get_running_loop().add_signal_handler(number, work.cancel)
    await work


async def _demonstrate(screen: Screen, directory: Path, program: str) -> None:
    screen.title("Callstream: REST in, Kafka through, callback out")
    async with installed(directory, screen, program) as installation, journeys(installation, screen) as way:
        await way.make(examples.calculation())
        await way.make(examples.data(*await way.sample()))


def _explain(screen: Screen, failure: StepError) -> None:
    screen.bad(f"\nFailed while {failure.step}: {failure.why}")
    screen.plain(f"The end of {failure.log.name}:")
    for line in failure.log.read_text(errors="replace").splitlines()[-_TAIL:]:
        screen.plain(f"  {line}")


if __name__ == "__main__":
    sys.exit(main())
