"""The times of a stop fit into one another: those of requests that still come, of the producer and of the watchdog."""

import pytest

from callstream.runtime.settings import Settings
from gateway import ending
from gateway.body import MARGIN
from gateway.http_protocol import ON_ITS_WAY
from gateway.main import _config

TICKS = (
    0.3  # seconds: uvicorn looks every 0.1 s whether it is to stop, and whether all are answered, and waits once more
)


@pytest.mark.parametrize("deadline", [0.1, 0.5, 1, 1.5, 2.5, 5, 5.1, 30, 86_400])
def test_a_request_that_comes_last_has_its_answer_and_the_producer_its_time(deadline: float) -> None:
    settings = Settings.model_validate({"gateway": {"deadline": deadline}})
    waits = _config(settings, 1, None).timeout_graceful_shutdown
    assert waits is not None
    assert waits > ON_ITS_WAY + deadline * MARGIN, "uvicorn would cancel what is under way"
    assert waits + ending.FLUSH + TICKS < deadline + ending._OWN, "the watchdog would end it while the producer flushes"
