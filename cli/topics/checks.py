"""What a topic has to be like, and in what one that is there differs."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from callstream.contract.topics import Shape
from callstream.runtime.settings import variable

SIZE = "max.message.bytes"
RETENTION = "retention.ms"
BYTES = "retention.bytes"
CLEANUP = "cleanup.policy"
IN_SYNC = "min.insync.replicas"
CHECKED = (SIZE, RETENTION, BYTES, CLEANUP, IN_SYNC)

_FOR_EVER = -1  # as a retention
_ENOUGH = 3  # copies with which one broker may be away though two must have a record
_TWO = 2  # copies that must have a record before it is acknowledged


class Topic(NamedTuple):
    """A topic as the broker tells it; `config` lacks what it does not tell."""

    partitions: int
    replicas: int
    config: Mapping[str, str]


def config_of(shape: Shape, copies: int | None) -> dict[str, str]:
    """Return the configuration of a topic that is to be created with so many copies, None where that is not known."""
    config = {CLEANUP: "delete", BYTES: str(_FOR_EVER), SIZE: str(shape.largest), RETENTION: str(shape.retention)}
    return config | ({IN_SYNC: str(_TWO)} if copies is not None and copies >= _ENOUGH else {})


def differences(name: str, wants: Shape, has: Topic) -> Iterator[str]:
    """Yield a line for all that a topic must be and is not."""
    yield from _counted(name, wants, has)
    yield from _kept(name, wants, has.config)
    yield from _in_sync(name, has)


def _counted(name: str, wants: Shape, has: Topic) -> Iterator[str]:
    if has.partitions != wants.partitions:
        yield (
            f"{name} has {has.partitions} partitions, {variable(('topics', 'partitions'))} wants {wants.partitions}: "
            "set it to what the topic has, or add partitions with Kafka's tools while no task of the topic is under way"
        )
    if has.replicas < wants.replicas:
        yield (
            f"{name} has {has.replicas} replicas, {variable(('topics', 'replication_factor'))} wants {wants.replicas}: "
            "lower it, or reassign the partitions with Kafka's tools"
        )


def _kept(name: str, wants: Shape, config: Mapping[str, str]) -> Iterator[str]:
    if (policy := config.get(CLEANUP, "delete")) != "delete":
        yield (
            f"{name} has {CLEANUP}={policy}, and must have delete alone: of tasks under one key all but the last would "
            f"be deleted; set the topic's {CLEANUP} with Kafka's tools"
        )
    if (limit := int(config.get(BYTES, _FOR_EVER))) != _FOR_EVER:
        yield (
            f"{name} has {BYTES}={limit}, and must have {_FOR_EVER}: what nobody has read yet would be deleted; set "
            f"the topic's {BYTES} with Kafka's tools"
        )
    if _less(size := _number(config, SIZE), wants.largest):
        yield (
            f"{name} has {SIZE}={size}, {variable(('topics', 'max_message_bytes'))} wants {wants.largest} "
            f"here: lower it, or raise the topic's {SIZE} with Kafka's tools"
        )
    if (kept := _number(config, RETENTION)) != _FOR_EVER and _less(kept, wants.retention):
        yield (
            f"{name} has {RETENTION}={kept}, {variable(('topics', 'retention'))} wants {wants.retention} "
            f"here: lower it, or raise the topic's {RETENTION} with Kafka's tools"
        )


def _in_sync(name: str, has: Topic) -> Iterator[str]:
    least = _number(has.config, IN_SYNC)
    if has.replicas >= _ENOUGH and _less(least, _TWO):
        yield (
            f"{name} has {IN_SYNC}={least} of {has.replicas} replicas, and must have {_TWO}: what one broker alone "
            f"acknowledged is lost with it; raise the topic's {IN_SYNC} with Kafka's tools"
        )
    if _less(has.replicas, least):
        yield (
            f"{name} has {IN_SYNC}={least} and {has.replicas} replicas: nothing could be stored; lower the topic's "
            f"{IN_SYNC}, or add replicas with Kafka's tools"
        )


def _number(config: Mapping[str, str], name: str) -> int | None:
    return int(config[name]) if name in config else None


def _less(has: int | None, wants: int | None) -> bool:
    return has is not None and wants is not None and has < wants
