"""Ends a process that does not end by itself once it is to stop, whatever holds it up."""

import faulthandler
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from queue import SimpleQueue

from callstream.runtime.logs import get_logger

_LATER = 1.0  # seconds from one means to the next, stronger one


class Watchdog:
    """Ends the process with exit code 1 when it is still there `seconds` after `arm()`; two seconds later at the most.

    First a thread tells it in one line and ends the process. Where no thread can run, for code in C keeps the
    interpreter's lock, faulthandler prints every stack and ends it. Where nothing can be printed, for nobody reads our
    stderr any more, the kernel does, by SIGALRM.
    """

    def __init__(self, process: str, seconds: float) -> None:
        self.seconds = seconds
        self._process = process
        self._main = threading.main_thread().ident
        self._counting = False
        self._armed: SimpleQueue[float] = SimpleQueue()  # the deadline; a signal handler may put while it is used
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def arm(self) -> None:
        """Begin to count; what is armed stays so. A signal handler may call it, and any thread."""
        if self._counting:
            return
        self._counting = True
        signal.setitimer(signal.ITIMER_REAL, self.seconds + 2 * _LATER)
        self._armed.put(time.monotonic() + self.seconds)
        with suppress(Exception):  # without a stderr
            faulthandler.dump_traceback_later(self.seconds + _LATER, exit=True, file=sys.stderr)

    def _watch(self) -> None:
        time.sleep(max(0.0, self._armed.get() - time.monotonic()))
        try:
            get_logger().error("process.stuck", process=self._process, seconds=self.seconds, at=self._place())
        finally:
            os._exit(1)

    def _place(self) -> str:
        """Return where the main thread is."""
        frame = sys._current_frames().get(self._main or 0)  # noqa: SLF001 - documented, for this use
        if frame is None:
            return "nowhere"
        return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_qualname}"
