"""What holds for every unit test."""

import socket
from typing import Any

import pytest
from hypothesis import settings

from tests.unit.records import Broker

# How long one example takes is the machine's to say.
settings.register_profile("callstream", deadline=None)
settings.load_profile("callstream")

_INTERNET = {socket.AF_INET, socket.AF_INET6}


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a test that goes to the network; the event loop's own pair of sockets is not of the internet's family."""

    def guarded(name: str) -> Any:
        original = getattr(socket.socket, name)

        def call(self: socket.socket, *arguments: Any) -> Any:
            if self.family in _INTERNET:
                pytest.fail(f"a unit test called socket.{name}{arguments}")
            return original(self, *arguments)

        return call

    for name in ("connect", "connect_ex", "bind"):
        monkeypatch.setattr(socket.socket, name, guarded(name))


@pytest.fixture
def broker() -> Broker:
    return Broker()
