"""The command line, as far as it goes without a broker."""

import re
import sys
from pathlib import Path

import pytest

import callstream
from cli import main as cli
from tests.support.processes import Service, run_to_end

BROKEN = """
from cli import main, settings_table

def fail(settings):
    raise ValueError("two\\nlines")

settings_table.print_table = fail
main.main()
"""


async def callstream_says(directory: Path, *command: str, **env: str) -> tuple[int, str]:
    return await run_to_end(*command, env=env, directory=directory)


def test_the_version_is_the_packages(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["callstream", "--version"])
    with pytest.raises(SystemExit) as ending:
        cli.main()
    assert ending.value.code == 0
    assert capsys.readouterr().out == f"callstream {callstream.__version__}\n"


@pytest.mark.parametrize(("level", "tracebacks"), [("info", 0), ("debug", 1)])
async def test_what_nobody_expected_ends_in_one_line_and_only_the_debug_log_has_the_traceback(
    tmp_path: Path, level: str, tracebacks: int
) -> None:
    program = (sys.executable, "-c", BROKEN)
    env = {"CALLSTREAM_LOG_LEVEL": level}
    with Service("settings", env=env, directory=tmp_path, program=program) as service:
        exit_code = await service.wait()
        output = service.read_log()
    *logged, told = output.splitlines()
    assert exit_code == 1
    assert told == r"failed: ValueError: two\nlines"
    assert (len(logged), output.count("Traceback")) == (tracebacks, tracebacks), output


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CALLSTREAM_TASK_DELAY", "soon"),
        ("CALLSTREAM_TASK_DELAY", "-1"),
        ("CALLSTREAM_KAFKA__BOOTSTRAP", "nowhere"),
        ("CALLSTREAM_KAFKA__BOOTSTRP", "127.0.0.1:9092"),
        ("CALLSTREAM_TOPICS__PARTITIONS", "0"),
    ],
)
async def test_a_bad_setting_stops_the_start_with_one_line_that_names_it(tmp_path: Path, name: str, value: str) -> None:
    exit_code, output = await callstream_says(tmp_path, "topics", **{name: value})
    assert exit_code == 2
    assert re.fullmatch(rf"{name}: .+\n", output), output


async def test_every_bad_setting_of_a_dotenv_file_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("CALLSTREAM_LOG_LEVEL=loud\nCALLSTREAM_TASKS__WINDO=9\n")
    exit_code, output = await callstream_says(tmp_path, "settings")
    assert exit_code == 2
    assert [line.partition(":")[0] for line in output.splitlines()] == [
        "CALLSTREAM_LOG_LEVEL",
        "CALLSTREAM_TASKS__WINDO",
    ]


async def test_a_misspelt_variable_is_told_with_the_closest_name(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("CALLSTREAM_KAFKA_BOOTSTRAP=127.0.0.1:9092\n")
    exit_code, output = await callstream_says(tmp_path, "settings", CALLSTREAM_TASK_DLAY="2", OTHER_TASK_DELAY="2")
    assert exit_code == 0
    told = [line for line in output.splitlines() if "setting.unknown" in line]
    assert len(told) == 2
    assert '"variable": "CALLSTREAM_KAFKA_BOOTSTRAP", "did_you_mean": "CALLSTREAM_KAFKA__BOOTSTRAP"' in told[0]
    assert '"variable": "CALLSTREAM_TASK_DLAY", "did_you_mean": "CALLSTREAM_TASK_DELAY"' in told[1]
