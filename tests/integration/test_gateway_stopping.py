"""The gateway ends when it is told to, and when it cannot start it says so."""

import sys
from pathlib import Path

import pytest

from tests.support.processes import Service
from tests.support.waiting import eventually, free_port

PROGRAM = Path(__file__).with_name("hanging_gateway.py")  # not imported: it changes the gateway


def gateway(how: str, workers: str, directory: Path) -> Service:
    env = {"HOW": how, "CALLSTREAM_GATEWAY__DEADLINE": "0.1"}
    program = (sys.executable, str(PROGRAM))
    port = str(free_port())
    return Service("gateway", "--port", port, "--workers", workers, env=env, directory=directory, program=program)


@pytest.mark.parametrize(("how", "workers"), [("hang", "1"), ("block", "2")])
async def test_a_gateway_that_hangs_when_it_stops_is_gone_all_the_same(how: str, workers: str, tmp_path: Path) -> None:
    with gateway(how, workers, tmp_path) as service:
        await eventually(lambda: service.read_log().count("gateway.running") == int(workers), 30, service.log_tail)
        family = service.with_children()
        await service.stop()
        assert "process.stuck" in service.read_log()
        await eventually(lambda: not any(process.is_running() for process in family[1:]))


async def test_a_gateway_whose_workers_cannot_start_does_not_end_as_if_all_were_well(tmp_path: Path) -> None:
    with gateway("fail", "2", tmp_path) as service:
        assert await service.wait() != 0


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_gateway_that_does_not_look_after_its_broker_any_more_ends_and_says_why(
    workers: str, tmp_path: Path
) -> None:
    with gateway("lose", workers, tmp_path) as service:
        assert await service.wait() not in {0, None}
        log = service.read_log()
        assert "UnicodeError('label empty or too long')" in log
        assert 1 <= log.count("process.failed") <= int(workers)
        assert "process.stuck" not in log
