"""The gateway's application with a publisher that does as it is told."""

from collections.abc import AsyncIterator

import httpx
import pytest

from callstream.contract.records import OutgoingRecord
from callstream.runtime.settings import Settings
from callstream.tasks import load_tasks
from gateway.app import create_app
from gateway.validation import Validator


class FakePublisher:
    """Keeps what is published, or raises `error`."""

    def __init__(self) -> None:
        self.records: list[OutgoingRecord] = []
        self.error: Exception | None = None
        self.trouble: str | None = None

    async def publish(self, record: OutgoingRecord, client: str, by: float) -> None:  # noqa: ARG002 - there at once
        if self.error is not None:
            raise self.error
        self.records.append(record)


@pytest.fixture
def publisher() -> FakePublisher:
    return FakePublisher()


@pytest.fixture
async def client(publisher: FakePublisher) -> AsyncIterator[httpx.AsyncClient]:
    settings = Settings.model_validate({"gateway": {"body_limit": 10_000, "deadline": 0.5}})
    app = create_app(
        settings, load_tasks(), publisher, Validator(settings.gateway.body_limit, settings.gateway.item_limit, 5)
    )
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        yield client
