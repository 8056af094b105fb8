"""The tools that the tests of the chart run: helm, kubectl, go."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest
import yaml

import callstream

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "callstream"
VALUES = sorted((Path(__file__).parent / "values").glob("*.yaml"))
GOLDEN = Path(__file__).parent / "golden"
IMAGE = os.environ.get("CHART_IMAGE", f"callstream:{callstream.__version__}")
KAFKA_IMAGE = "apache/kafka:4.3.1"
_PAUSE = 0.2  # seconds between two looks


@dataclass(frozen=True)
class Done:
    """What a command that has ended said."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        return f"{self.out}\n{self.err}".strip()


class Tool:
    """A program that is run to its end, within a time."""

    def __init__(self, name: str, *options: str) -> None:
        self._path = shutil.which(name)
        self._name = name
        self._options = options

    @property
    def is_there(self) -> bool:
        return self._path is not None

    def with_options(self, *options: str) -> "Tool":
        return Tool(self._name, *self._options, *options)

    def __call__(self, *arguments: str, stdin: str = "", timeout: float = 60) -> str:
        """Run it and return what it printed; it must succeed."""
        done = self.try_to(*arguments, stdin=stdin, timeout=timeout)
        assert done.code == 0, f"{self._name} {' '.join(arguments)}\n{done.said}"
        return done.out

    def try_to(self, *arguments: str, stdin: str = "", timeout: float = 60) -> Done:
        assert self._path, f"{self._name} is not installed"
        command = [self._path, *self._options, *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout, check=False)
        return Done(done.returncode, done.stdout, done.stderr)


helm = Tool("helm")
kubectl = Tool("kubectl")


def render(values: Path, *options: str) -> str:
    """Return all objects of the chart, as a cluster of one set version would get them."""
    return helm("template", "shop", str(CHART), "-n", "shop", "--kube-version", "1.34.0", "-f", str(values), *options)


def objects(manifest: str) -> list[dict[str, Any]]:
    return [found for found in yaml.safe_load_all(manifest) if found]


def eventually(condition: Callable[[], Any], deadline: float, what: str) -> Any:
    """Return the first truthy answer of `condition` within `deadline` seconds."""
    until = time.monotonic() + deadline
    while not (answer := condition()):
        assert time.monotonic() < until, f"not within {deadline} s: {what}; last answer: {answer!r}"
        time.sleep(_PAUSE)
    return answer


def get(tool: Tool, *arguments: str) -> dict[str, Any]:
    """Return what `kubectl get` finds."""
    found: dict[str, Any] = json.loads(tool("get", *arguments, "-o", "json"))
    return found


def cannot(reason: str) -> NoReturn:
    """Skip the test; fail where CI has started a cluster for it."""
    if os.environ.get("CI_KUBERNETES") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
