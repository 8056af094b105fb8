"""Writes the table of values in callstream/README.md from callstream/values.yaml; with --check only compares.

A value is what has a comment that begins with `# --` above it.
"""
# ruff: noqa: INP001 - a script, not a package

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parent / "callstream"
BEGIN, END = "<!-- values: begin -->\n", "<!-- values: end -->\n"
_KEY = re.compile(r"^(?P<indent> *)(?P<key>\w+):")


def table() -> str:
    """Return the table of values, a row each.

    Raises:
        ValueError: a value has no description.
    """
    text = (CHART / "values.yaml").read_text()
    described = dict(_descriptions(text))
    rows = []
    for path, value in _values(yaml.safe_load(text), described, ()):
        name = ".".join(path)
        if path not in described:
            raise ValueError(f"{name} has no description")
        cells = [f"`{name}`", f"`{json.dumps(value)}`", described[path]]
        rows.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |\n")
    return "| value | default | |\n|---|---|---|\n" + "".join(rows)


def _descriptions(text: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """Give the path of each value that is described, and the text."""
    path: list[str] = []
    comment: list[str] = []
    for line in text.splitlines():
        words = line.strip()
        if words.startswith("# --"):
            comment = [words.removeprefix("# --").strip()]
        elif words.startswith("#") and comment:
            comment.append(words.removeprefix("#").strip())
        elif found := _KEY.match(line):
            path[len(found["indent"]) // 2 :] = [found["key"]]
            if comment:
                yield tuple(path), " ".join(comment)
            comment = []
        else:
            comment = []


def _values(
    node: dict[str, Any], described: dict[tuple[str, ...], str], path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in node.items():
        here = (*path, key)
        if isinstance(value, dict) and value and here not in described:
            yield from _values(value, described, here)
        else:
            yield here, value


def written(readme: str) -> str:
    """Return `readme` with the table as it should be."""
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}{table()}{END}{after}"


def main() -> None:
    path = CHART / "README.md"
    readme = path.read_text()
    wanted = written(readme)
    if "--check" not in sys.argv[1:]:
        path.write_text(wanted)
    elif readme != wanted:
        sys.exit("helm/callstream/README.md is stale: run python helm/readme.py")


if __name__ == "__main__":
    main()
