"""`callstream asyncapi` and `callstream schemas`: the contract of the topics, as files that others can use."""

import json
from pathlib import Path

import typer

from callstream.contract.asyncapi import as_yaml, document
from callstream.contract.schemas import schema_files
from callstream.runtime.settings import Settings
from callstream.runtime.topic_shapes import topic_shapes
from callstream.tasks import load_tasks
from cli.errors import CommandError


def print_asyncapi(settings: Settings, *, as_json: bool) -> None:
    tasks = load_tasks()
    written = document(tasks.values(), settings.topic_names, topic_shapes(settings, tasks))
    typer.echo(_json_text(written) if as_json else as_yaml(written), nl=False)


def write_schemas(directory: Path) -> None:
    """Write a file for each schema, and print its path."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, schema in schema_files(load_tasks().values()).items():
            path = directory / f"{name}.json"
            path.write_text(_json_text(schema), encoding="utf-8")
            typer.echo(path)
    except OSError as error:
        raise CommandError(f"the schemas cannot be written: {error}", exit_code=1) from error


def _json_text(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
