"""Task ids: new at the gateway, or a function of a record's place for a record that came without one."""

from uuid import UUID, uuid5

from uuid_utils import uuid7

from callstream.contract.records import Record

# The UUIDv5 namespace of records: fixed for ever, or a second reading would give another id.
_RECORDS = UUID("6f1d3a52-5d0e-5c8b-9b57-0c6d6a3b8f11")
# That of idempotency keys, for ever likewise.
_KEYS = UUID("0b6c2d0e-8c39-5f0a-a3a5-6f1b7b9d2c47")


def new_task_id() -> str:
    return str(uuid7())


def keyed_task_id(path: str, key: str) -> str:
    """Return the same id for the same `Idempotency-Key` at the same path; neither holds a space."""
    return str(uuid5(_KEYS, f"{path} {key}"))


def derived_task_id(record: Record) -> str:
    """Return the same id at every reading of `record`, so that a redelivery is the same task."""
    topic, partition = record.partition
    return str(uuid5(_RECORDS, f"{topic}/{partition}/{record.offset}"))
