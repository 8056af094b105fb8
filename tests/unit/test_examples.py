"""The examples are short, and their README names each."""

from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
SOURCES = [
    path
    for folder in ("console", "go", "java", "node", "python")
    for path in sorted((EXAMPLES / folder).iterdir())
    if path.suffix in {".go", ".java", ".js", ".py", ".sh"}
]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_an_example_is_under_forty_lines_and_told_of(source: Path) -> None:
    assert len(source.read_text().splitlines()) < 40
    assert f"{source.parent.name}/{source.name}" in (EXAMPLES / "README.md").read_text()


def test_there_is_an_example_for_each_client() -> None:
    assert len(SOURCES) == 7
