"""A task type whose handler runs in a process, and does there what its item says."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

from callstream.tasks import Item, TaskError, task


class Deed(Item):
    does: Literal["pid", "raise", "leave", "exit", "die", "print", "set", "hang", "hang-with-child"] = "pid"
    file: str = ""


@task("heavy", path="/v1/heavy", runs="process")
def heavy(item: Deed) -> Any:
    match item.does:
        case "pid":
            return os.getpid()
        case "raise":
            raise TaskError("half a pair: \ud83d")
        case "leave":
            sys.exit(3)
        case "exit":
            os._exit(3)
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "print":
            os.write(1, b"on standard output\n")
            return sys.stdin.read()
        case "set":
            return {1}
        case "hang-with-child":
            _start_a_child(item.file)
    while True:
        pass


@task("heavy-too", path="/v1/heavy-too", runs="process")
def heavy_too(item: Deed) -> Any:
    return heavy.handler(item)


def _start_a_child(file: str) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    Path(file).write_text(f"{os.getpid()} {child.pid}")
