"""The program of a validation process, `python -m gateway.validation_worker ITEMS BYTES`, asked over standard input.

ITEMS is the most that a request may have, BYTES the memory that the process may take beyond what it starts with.

It says one byte when it is ready. A question is the size of the task type's name, the name, the size of the body, the
body. An answer is its size and what `body_errors` makes of the errors; nothing if there are none.
"""

import gc
import os
import resource
import sys
from typing import BinaryIO

from callstream.tasks import load_tasks
from gateway.body_errors import body_errors

SIZE_BYTES = 8
READY = b"!"


def main() -> None:
    """Answer until nobody asks any more, which is also when the gateway has died."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a task type prints is no answer
    tasks = load_tasks()
    gc.freeze()
    gc.disable()  # a collection walks a body's hundreds of thousands of new values, again and again
    item_limit, memory = map(int, sys.argv[1:])
    _limit_memory(memory)
    answers.write(READY)
    answers.flush()
    while (name := _read(sys.stdin.buffer)) is not None:
        answer = body_errors(tasks[name.decode()], _read(sys.stdin.buffer) or b"", item_limit)
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
