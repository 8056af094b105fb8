"""Fixtures of the chart's tests, and the figures that they print at the end."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from uuid import uuid4

import pytest

from tests.chart.tools import CHART, Tool, cannot, helm, kubectl

_FIGURES = pytest.StashKey[list[str]]()

Say = Callable[[str], None]
Timed = Callable[[str], AbstractContextManager[None]]


@pytest.fixture(scope="session", autouse=True)
def _with_helm() -> None:
    if not helm.is_there:
        cannot("helm is not installed")


@pytest.fixture(scope="session")
def cluster() -> Tool:
    """Kubectl, where a cluster answers it."""
    if not kubectl.is_there:
        cannot("kubectl is not installed")
    answer = kubectl.try_to("get", "--raw", "/readyz", "--request-timeout=5s")
    if answer.code:
        cannot(f"no Kubernetes cluster answers: {answer.err.strip()}")
    return kubectl


@pytest.fixture(scope="module")
def namespace(cluster: Tool) -> Iterator[str]:
    """A namespace of the module's own, which takes only pods that the restricted Pod Security Standard allows."""
    name = f"callstream-test-{uuid4().hex[:8]}"
    cluster("create", "namespace", name)
    levels = [f"pod-security.kubernetes.io/{mode}=restricted" for mode in ("enforce", "warn")]
    cluster("label", "namespace", name, *levels)
    yield name
    cluster("delete", "namespace", name, "--timeout=90s", timeout=100)


@pytest.fixture(scope="session")
def say(pytestconfig: pytest.Config) -> Say:
    """Take a line for the end of the run."""
    return pytestconfig.stash.setdefault(_FIGURES, []).append


@pytest.fixture(scope="session")
def timed(say: Say) -> Timed:
    """Say how long a block took."""

    @contextmanager
    def block(what: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        say(f"{time.monotonic() - began:6.1f} s  {what}")

    return block


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if figures := config.stash.get(_FIGURES, []):
        terminalreporter.section(f"chart {CHART.name}")
        for line in figures:
            terminalreporter.write_line(line)
