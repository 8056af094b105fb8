"""The process in which CPU-heavy handlers run: `python -m callstream.tasks.worker`.

It reads frames, each its size and its bytes: pickled, a handler's `module:name` and the item for it, itself pickled, or
None to load the handler alone. Each is answered by a frame that begins with DONE or FAILED, then JSON or a text.
"""

import os
import pickle
import threading
from functools import reduce
from importlib import import_module
from io import FileIO
from queue import SimpleQueue
from typing import Any

from callstream.contract.raw_json import RawJson
from callstream.tasks.outcome import Failed, as_json, failure, json_outcome
from callstream.tasks.registry import Handler, Task

DONE, FAILED = b"+", b"-"
SIZE_BYTES = 8


def main() -> None:
    questions, answers = FileIO(os.dup(0)), FileIO(os.dup(1), "w")
    # What a handler prints is for the log, and nothing is for it to read.
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    waiting: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_listen, args=(questions, waiting), daemon=True).start()
    while True:
        _send(answers, _answer(*pickle.loads(waiting.get())))  # noqa: S301 - the parent's


def _listen(questions: FileIO, waiting: "SimpleQueue[bytes]") -> None:
    """Queue what comes; the end of it is the parent's, with which this process ends even in the midst of an item."""
    while size := _read(questions, SIZE_BYTES):
        waiting.put(_read(questions, int.from_bytes(size)))
    os._exit(0)


def _read(file: FileIO, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = file.read(size - len(data))
        if not part:
            return b""
        data += part
    return bytes(data)


def _answer(reference: str, pickled: bytes | None) -> RawJson | Failed:
    try:
        handler = _handler(reference)
        item = None if pickled is None else pickle.loads(pickled)  # noqa: S301 - the parent's
    except BaseException as error:  # noqa: BLE001 - whatever a module or a model raises is told
        return failure(error)
    return RawJson(b"null") if item is None else as_json(json_outcome(handler, item))


def _handler(reference: str) -> Handler:
    module, _, name = reference.partition(":")
    found: Any = reduce(getattr, name.split("."), import_module(module))
    handler: Handler = found.handler if isinstance(found, Task) else found
    return handler


def _send(answers: FileIO, answer: RawJson | Failed) -> None:
    frame = FAILED + answer.text.encode() if isinstance(answer, Failed) else DONE + answer.data
    rest = memoryview(len(frame).to_bytes(SIZE_BYTES) + frame)
    while rest:
        rest = rest[answers.write(rest) :]


if __name__ == "__main__":
    main()
