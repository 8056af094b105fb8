"""The image: what an operator's policies ask of it."""

import json
from secrets import token_hex
from typing import Any

import pytest_asyncio

import callstream
from tests.support.docker import IMAGE, compose, docker, docker_exit, need_docker
from tests.support.waiting import eventually

HARDENED = ["--rm", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--network", "none"]  # noqa: S108 - in a container


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def image() -> str:
    need_docker()
    async with compose() as project:
        await project("build", "topics")
    return IMAGE


async def sh(image: str, script: str) -> str:
    return await docker("run", *HARDENED, "--entrypoint", "sh", image, "-c", script)


async def test_it_runs_the_command_without_root_on_a_root_that_is_read_only(image: str) -> None:
    assert await docker("run", *HARDENED, image, "--version") == f"callstream {callstream.__version__}\n"
    assert (await sh(image, "id -u; id -g")).split() == ["10001", "10001"]


async def test_a_bad_setting_is_a_line_and_exit_code_2(image: str) -> None:
    exit_code, output = await docker_exit("run", *HARDENED, "-e", "CALLSTREAM_TASKS__WINDOW=none", image, "tasks")
    assert (exit_code, output.count("\n")) == (2, 1), output
    assert "CALLSTREAM_TASKS__WINDOW" in output


async def test_it_holds_no_compiler_and_nothing_that_only_builds(image: str) -> None:
    tools = "gcc cc c++ ld strip make hatchling honcho"
    assert await sh(image, f"for tool in {tools}; do command -v $tool; done; true") == ""


async def test_everything_in_it_is_compiled(image: str) -> None:
    """A read-only root cannot keep what is compiled at the start."""
    script = "find /opt/callstream -name '*.py' -path '*site-packages/callstream/*' | wc -l; find /opt/callstream "
    sources, compiled = (await sh(image, script + "-name '*.pyc' -path '*site-packages/callstream/*' | wc -l")).split()
    assert int(sources) == int(compiled) > 20


async def test_its_labels_say_what_it_is(image: str) -> None:
    (inspected,) = json.loads(await docker("image", "inspect", image))
    config: dict[str, Any] = inspected["Config"]
    labels = {name.removeprefix("org.opencontainers.image."): text for name, text in config["Labels"].items()}
    assert labels["title"] == "Callstream"
    assert labels["licenses"] == "Apache-2.0"
    assert {"version", "revision", "description"} <= labels.keys()
    assert (config["User"], config["Entrypoint"]) == ("10001:10001", ["callstream"])


async def test_sigterm_is_a_good_end(image: str) -> None:
    name = f"callstream-{token_hex(4)}"
    await docker("run", "--detach", "--name", name, *HARDENED[1:], image, "receiver")

    async def ready() -> bool:
        return "receiver.ready" in await docker("logs", name)

    try:
        await eventually(ready, 30)
        await docker("stop", "--time", "20", name)
        assert (await docker("inspect", "--format", "{{.State.ExitCode}}", name)).strip() == "0"
    finally:
        await docker("rm", "--force", name)
