"""The program of a validation process, which is asked over standard input.

It is `python -m gateway.validation_worker ITEMS BYTES SECONDS`: ITEMS is the most that a request may have, BYTES the
memory that the process may take beyond what it starts with, SECONDS the time of a core that one body may take. A body
that takes more ends the process.

It says one byte when it is ready. A question is the size of the task type's name, the name, the size of the body, the
body. An answer is its size and what `body_errors` makes of the errors; nothing if there are none.
"""

import gc
import os
import resource
import signal
import sys
from typing import BinaryIO

from callstream.tasks import load_tasks
from gateway.body_errors import body_errors

SIZE_BYTES = 8
READY = b"!"
_OUT_OF_MEMORY = 3  # exit code


def main() -> None:
    """Answer until nobody asks any more, which is also when the gateway has died."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a task type prints is no answer
    tasks = load_tasks()
    gc.freeze()
    gc.disable()  # a collection walks a body's hundreds of thousands of new values, again and again
    item_limit, memory, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    _limit_memory(memory)
    answers.write(READY)
    answers.flush()
    while (name := _read(sys.stdin.buffer)) is not None:
        body = _read(sys.stdin.buffer) or b""
        signal.setitimer(signal.ITIMER_PROF, seconds)  # SIGPROF ends the process, also amid code that is not Python
        try:
            answer = body_errors(tasks[name.decode()], body, item_limit)
        except MemoryError:
            os._exit(_OUT_OF_MEMORY)
        signal.setitimer(signal.ITIMER_PROF, 0)
        answers.write(len(answer).to_bytes(SIZE_BYTES) + answer)
        answers.flush()
        del answer
        gc.collect()


def _read(source: BinaryIO) -> bytes | None:
    size = source.read(SIZE_BYTES)
    return source.read(int.from_bytes(size)) if size else None


def _limit_memory(more: int) -> None:
    """Let this process end, and not its neighbours, when a body needs more memory than it may."""
    used = _data_used()
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = used + more
    resource.setrlimit(resource.RLIMIT_DATA, (wanted if most == resource.RLIM_INFINITY else min(wanted, most), most))


def _data_used() -> int:
    with open("/proc/self/statm", "rb") as statm:  # noqa: PTH123 - no path, the kernel's
        return int(statm.read().split()[5]) * resource.getpagesize()


if __name__ == "__main__":
    main()
