"""`callstream asyncapi` and `callstream schemas`."""

import json
from pathlib import Path

import pytest
import yaml

from callstream.runtime.settings import Settings
from cli.contract import print_asyncapi, write_schemas
from cli.errors import CommandError


def test_yaml_and_json_say_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    settings = Settings.model_validate({"topics": {"prefix": "one."}})
    print_asyncapi(settings, as_json=False)
    as_yaml = yaml.safe_load(capsys.readouterr().out)
    print_asyncapi(settings, as_json=True)
    assert json.loads(capsys.readouterr().out) == as_yaml
    assert as_yaml["channels"]["task.results"]["address"] == "one.task.results"


def test_each_schema_is_a_file_in_a_directory_that_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_schemas(tmp_path / "new" / "schemas")
    files = sorted(str(path) for path in (tmp_path / "new" / "schemas").iterdir())
    assert sorted(capsys.readouterr().out.splitlines()) == files
    request = json.loads((tmp_path / "new/schemas/calculation.request.json").read_text())
    assert request["title"] == "calculation.request"


def test_a_directory_that_cannot_be_written_is_said_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CommandError, match="the schemas cannot be written"):
        write_schemas(tmp_path / "file" / "schemas")
