"""The lock files hold for the pip of every Python that is supported."""

import re
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_what_is_asked_for_with_an_extra_is_pinned_with_it(name: str) -> None:
    """Pip before 23.3 takes `coverage[toml]` for something that `coverage==...` does not pin: a release breaks it."""
    pinned = dict(re.findall(r"^([\w.-]+)(\[[\w,.-]+\])?==", (_ROOT / name).read_text(), re.MULTILINE))
    asked = [
        requirement
        for installed in distributions()
        if canonicalize_name(installed.metadata["Name"]) in pinned
        for requirement in map(Requirement, installed.requires or ())
        if requirement.extras and (requirement.marker is None or requirement.marker.evaluate({"extra": ""}))
    ]
    loose = [str(ask) for ask in asked if not all(extra in pinned[canonicalize_name(ask.name)] for extra in ask.extras)]
    assert not loose
