"""Shows a call to people. Everything in it is a stranger's: no markup, no control characters reach the terminal."""

import json

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from receiver.calls import Call

_SHOWN = 4_000  # characters of a body


def show(console: Console, call: Call) -> None:
    console.print(
        Panel(
            Text(_printable(_body(call))),
            title=Text(_printable(call.task_id or "no task_id")),
            subtitle=Text(f"{call.signature}, {call.received_at:%H:%M:%S.%f}"),
            title_align="left",
            subtitle_align="right",
        )
    )


def _body(call: Call) -> str:
    text = call.body if isinstance(call.body, str) else json.dumps(call.body, indent=2, ensure_ascii=False)
    left = len(text) - _SHOWN
    return text if left <= 0 else f"{text[:_SHOWN]}\n... and {left} characters more"


def _printable(text: str) -> str:
    return "".join(
        character if character.isprintable() or character == "\n" else character.encode("unicode_escape").decode()
        for character in text
    )
