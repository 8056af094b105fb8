"""docker-compose.kafka.yml, as far as it can be read without an engine."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SERVICES = {"kafka", "topics", "gateway", "tasks", "callbacks", "receiver"}


@pytest.fixture
def services() -> dict[str, Any]:
    text = (ROOT / "docker-compose.kafka.yml").read_text()
    services: dict[str, Any] = yaml.safe_load(re.sub(r"\$\{\w+:-([^}]*)}", r"\1", text))["services"]
    return services


def test_whatever_ends_is_started_again_but_what_is_to_end(services: dict[str, Any]) -> None:
    assert services.keys() == SERVICES
    assert {name: one["restart"] for name, one in services.items()} == {
        name: "no" if name == "topics" else "unless-stopped" for name in SERVICES
    }
    assert "-XX:+ExitOnOutOfMemoryError" in services["kafka"]["environment"]["KAFKA_OPTS"]


def test_urls_reach_the_receiver_and_nothing_else_inside(services: dict[str, Any]) -> None:
    receiver = services["receiver"]["networks"]["default"]["ipv4_address"]
    for name in SERVICES - {"kafka"}:
        assert services[name]["environment"]["CALLSTREAM_EGRESS__ALLOW"] == f"{receiver}/32"
