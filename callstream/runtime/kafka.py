"""How every client of ours reaches Kafka."""

from typing import Any

from callstream.runtime.settings import Settings


def client_options(settings: Settings, client_id: str) -> dict[str, Any]:
    """Return the options that all of aiokafka's clients share."""
    return {"bootstrap_servers": settings.kafka.bootstrap.split(","), "client_id": f"callstream-{client_id}"}
