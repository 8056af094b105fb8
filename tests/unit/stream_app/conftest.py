from collections.abc import Iterator

import pytest
import stamina

from stream_app.output import Output
from tests.unit.records import Broker


@pytest.fixture
def output(broker: Broker) -> Iterator[Output]:
    """Write to the broker, trying again as often as ever but without waiting."""
    with stamina.set_testing(testing=True, attempts=100, cap=True):
        yield Output(broker, 2**20)
