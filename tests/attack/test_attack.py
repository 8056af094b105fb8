"""A small `make attack`: hostile requests and records end nothing, block nothing, lose nothing and cost no memory."""

from pathlib import Path

import pytest

from tests.attack.runner import run
from tests.support.kafka import Kafka

SEED, COUNT = "2026", 600


@pytest.mark.timeout(900)  # a minute alone, more than three beside four others that take all they get
async def test_a_hostile_world_changes_nothing_for_the_others(kafka: Kafka, prefix: str, tmp_path: Path) -> None:
    report = await run(kafka.bootstrap, prefix, tmp_path, SEED, COUNT, lambda _: None, patience=300)
    assert not report.ends
    assert not report.too_heavy, report.peaks
    assert not report.missing
    assert not report.stuck
    assert not report.holes  # what is unknown is none: beside other tests the broker may have no core for seconds
    assert report.accepted > COUNT // 10
