"""How every benchmark runs."""

import signal
from collections.abc import Coroutine

import uvloop


def run(measure: Coroutine[None, None, None]) -> None:
    """Run to the end; SIGTERM ends it as Ctrl-C does, and with it every process that it has started."""
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    uvloop.run(measure)
