"""What the demo shows; as readable in a pipe as on a terminal."""

import json
import time
from collections.abc import Iterator

from pydantic import JsonValue
from rich.console import Console
from rich.rule import Rule
from rich.text import Text


class Screen:
    """Lines that begin with the seconds since `restart()`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started = time.time()

    def restart(self) -> None:
        self._started = time.time()

    def title(self, text: str) -> None:
        self._console.print()
        self._console.print(Rule(Text(text, style="bold"), align="left", characters="-"))

    def ready(self, name: str, what: str) -> None:
        self._line(time.time(), name, what, "green")

    def stage(self, name: str, what: str, at: float | None = None, body: JsonValue = None) -> None:
        """Show where the task is since `at`, in seconds since the epoch; now by default."""
        self._line(time.time() if at is None else at, name, what, "cyan")
        if body is not None:
            for line in _lines(body):
                self._print(Text(f"{'':11}{line}", style="dim"))

    def good(self, text: str) -> None:
        self._print(Text(text, style="bold green"))

    def bad(self, text: str) -> None:
        self._print(Text(text, style="bold red"))

    def plain(self, text: str) -> None:
        self._print(Text(text))

    def _line(self, at: float, name: str, what: str, style: str) -> None:
        self._print(Text.assemble(f"{max(at - self._started, 0):7.3f} s  ", (f"{name:21}", style), what))

    def _print(self, text: Text) -> None:
        self._console.print(text, soft_wrap=True)


def _lines(body: JsonValue) -> Iterator[str]:
    """Write `body` as JSON with a line for each field, and for each item where a field has several."""
    if not isinstance(body, dict):
        yield json.dumps(body, ensure_ascii=False)
        return
    fields = []
    for name, value in body.items():
        text = json.dumps(value, ensure_ascii=False)
        if isinstance(value, list) and len(value) > 1:
            text = "[\n    " + ",\n    ".join(json.dumps(item, ensure_ascii=False) for item in value) + "\n  ]"
        fields.append(f'  "{name}": {text}')
    yield from ("{\n" + ",\n".join(fields) + "\n}").splitlines()
