"""Every setting: read once, from the environment or `.env`, typed and frozen."""

from datetime import timedelta
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    PlainValidator,
    PositiveInt,
    SecretStr,
    ValidationError,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from callstream.contract.durations import duration
from callstream.contract.signature import HostSecret, checked, host_secret
from callstream.contract.sizes import LARGEST, Sizes, least_record
from callstream.contract.topics import Topics

PREFIX = "CALLSTREAM_"
DELIMITER = "__"
_MIB = 2**20
_LARGEST_PORT = 65_535


class SettingsError(Exception):
    """A setting has a value that cannot be used; the text names the variable, a line each."""


def _duration(value: object) -> object:
    """Read a duration such as `5m`; a plain number is in seconds, as `.env` files write it."""
    return duration(str(value)) if isinstance(value, str | int | float) else value


Seconds = Annotated[timedelta, BeforeValidator(_duration), Field(ge=timedelta(0), le=timedelta(days=1))]
PositiveSeconds = Annotated[timedelta, BeforeValidator(_duration), Field(gt=timedelta(0), le=timedelta(days=1))]


def _parts(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


Delay = Annotated[timedelta, BeforeValidator(_duration), Field(gt=timedelta(0), le=timedelta(days=7))]
Schedule = Annotated[tuple[Delay, ...], BeforeValidator(_parts), Field(min_length=1, max_length=100)]


def _host_secret(value: object) -> object:
    return host_secret(value) if isinstance(value, str) else value


# The least length holds for what is given: a list of nothing but commas must not leave callbacks unsigned.
Secrets = Annotated[
    tuple[Annotated[SecretStr, AfterValidator(checked)], ...], BeforeValidator(_parts), Field(min_length=1)
]
HostSecrets = Annotated[
    tuple[Annotated[InstanceOf[HostSecret], BeforeValidator(_host_secret)], ...],
    BeforeValidator(_parts),
    Field(min_length=1),
]
Network = Annotated[IPv4Network | IPv6Network, PlainValidator(ip_network)]
Networks = Annotated[tuple[Network, ...], BeforeValidator(_parts)]
Ports = Annotated[tuple[Annotated[int, Field(ge=1, le=_LARGEST_PORT)], ...], BeforeValidator(_parts)]


def _brokers(value: str) -> str:
    """Return `value` if each of its names and ports can be asked for: aiokafka does not expect the errors of others."""
    for broker in value.split(","):
        host, _, port = broker.rpartition(":")
        if not 1 <= int(port) <= _LARGEST_PORT:
            raise ValueError(f"a port is 1 to {_LARGEST_PORT}")
        try:
            host.encode("idna")
        except UnicodeError:
            raise ValueError("between the dots of a name there must be 1 to 63 characters") from None
    return value


Brokers = Annotated[str, AfterValidator(_brokers)]


class Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Kafka(Group):
    bootstrap: Brokers = Field(
        "127.0.0.1:9092",
        pattern=r"^[^\s,:]+:\d{1,5}(,[^\s,:]+:\d{1,5})*$",
        description="Brokers to ask first, HOST:PORT, comma-separated",
    )
    idempotent: bool = Field(
        default=True, description="Produce idempotently; false only for a broker without it (the embedded one)"
    )
    session_timeout: PositiveSeconds = Field(
        timedelta(seconds=10), description="Time without a heartbeat after which a dead consumer's partitions move"
    )
    request_timeout: PositiveSeconds = Field(
        timedelta(seconds=30), description="Time after which tasks and callbacks give up on one request to a broker"
    )


class TopicSettings(Group):
    prefix: str = Field(
        "", pattern=r"^[a-zA-Z0-9._-]{0,100}$", description="Put before every topic and group; one an install"
    )
    partitions: int = Field(6, ge=1, le=10_000, description="Partitions of each topic; the most replicas that help")
    replication_factor: int = Field(-1, ge=-1, le=100, description="Copies of each partition; -1: the broker's default")
    max_message_bytes: int = Field(
        4 * _MIB,
        le=LARGEST,
        description="Largest record in bytes; a result that would be larger is an error of each of its items. Twice "
        "that for dead letters, a little more for what waits in a tier",
    )
    retention: Annotated[timedelta, BeforeValidator(_duration), Field(ge=timedelta(days=1))] = Field(
        timedelta(days=7),
        description="How long records are kept, at least as long as callbacks wait; dead letters 4 times",
    )


class Gateway(Group):
    body_limit: PositiveInt = Field(_MIB, description="Largest request body in bytes, at both doors")
    item_limit: PositiveInt = Field(1_000, description="Most items of a request, at both doors")
    deadline: PositiveSeconds = Field(
        timedelta(seconds=5), description="Time within which every request has its answer"
    )
    in_flight: PositiveInt = Field(
        5_000, description="Records of one gateway process that wait for the broker; beyond it 503"
    )
    in_flight_bytes: PositiveInt = Field(
        32 * _MIB,
        description="Bytes of requests in one gateway process, as received and once more while they wait for the "
        "broker; beyond it 503",
    )
    connections: PositiveInt = Field(
        1_000,
        description="Connections of one gateway process, and at most 64 fewer than it may have files open; beyond it "
        "the one that has waited longest for its client is closed, or the new one where all are at work",
    )
    client_connections: PositiveInt = Field(
        500, description="Connections from one address, which a proxy is as well; beyond it a new one is answered 503"
    )
    idempotency_ttl: Delay = Field(
        timedelta(hours=24), description="How long a gateway process remembers an Idempotency-Key"
    )


class Tasks(Group):
    window: PositiveInt = Field(
        10_000, description="Records a partition that may be begun and not committed: the bound on duplicates"
    )
    in_flight: PositiveInt = Field(
        2_000, description="Tasks under way in one process; of each type only so many that there is room for the others"
    )
    in_flight_bytes: int = Field(
        64 * _MIB, ge=_MIB, description="Bytes of requests under way in one process; beyond them no more are begun"
    )
    item_concurrency: PositiveInt = Field(10, description="Items of one task under way at once")
    item_deadline: PositiveSeconds = Field(timedelta(seconds=30), description="Time for one item")
    deadline: PositiveSeconds = Field(timedelta(minutes=5), description="Time for all items of a task together")
    threads: PositiveInt = Field(
        40,
        description="Items under way in threads, of each type only so many that there is room for the others; as many "
        "more may be left behind there",
    )
    processes: PositiveInt = Field(
        2,
        description="Items under way in processes of their own, of each type only so many that there is room for the "
        "others",
    )
    fetch_limit: PositiveInt = Field(_MIB, description="Largest answer to a data fetch in bytes")
    answer_bytes: int = Field(
        64 * _MIB,
        ge=_MIB,
        description="Bytes of answers to fetches, and of results, that one process keeps; beyond them fetches wait, "
        "each task type for itself. Fetches have one connection for each 192 KiB of it",
    )
    drain: Seconds = Field(timedelta(seconds=20), description="How long a stop waits for work under way")


class Callbacks(Group):
    window: PositiveInt = Field(
        10_000, description="Records a partition that may be begun and not committed: the bound on duplicates"
    )
    in_flight: int = Field(2_000, ge=20, description="Callbacks under way in one process, half of them at receivers")
    in_flight_bytes: int = Field(
        64 * _MIB, ge=_MIB, description="Bytes of results under way in one process; beyond them no more are begun"
    )
    receiver_in_flight: PositiveInt = Field(32, description="Callbacks under way at one receiver, in one process")
    receiver_queue: PositiveInt = Field(
        256,
        description="Callbacks that wait for those at a receiver that does not answer well, or for a probe; what is "
        "beyond, or would wait for more than 2 s, goes to the first tier, which is no attempt",
    )
    breaker_failures: PositiveInt = Field(
        5, description="Failures in a row after which a receiver is left alone and asked by one probe at a time"
    )
    deadline: PositiveSeconds = Field(
        timedelta(seconds=15), description="Time for one attempt: name, connection, TLS and answer"
    )
    schedule: Schedule = Field(
        tuple(duration(text) for text in ("5s", "30s", "5m", "30m", "2h", "5h", "10h", "10h")),
        description="How long to wait after each failed attempt, comma-separated; then a dead letter",
    )
    expiry: Delay = Field(
        timedelta(hours=48), description="How long after its first attempt was due a callback is still attempted"
    )
    retry_after_cap: Delay = Field(timedelta(hours=6), description="The longest Retry-After that is honoured in full")
    secrets: Secrets = Field(
        (),
        description="Secrets that sign callbacks, whsec_ and the base64 of 24 to 64 bytes, comma-separated (more than "
        "one while they change); none: unsigned",
    )
    host_secrets: HostSecrets = Field(
        (),
        description="Secrets of single hosts in place of those, HOST=whsec_... or HOST:PORT=whsec_..., "
        "comma-separated; without a port for each of the host's ports",
    )
    drain: Seconds = Field(timedelta(seconds=20), description="How long a stop waits for work under way")

    @property
    def tiers(self) -> tuple[timedelta, ...]:
        """The delays of the schedule, each once, the shortest first."""
        return tuple(sorted(set(self.schedule)))


class Egress(Group):
    allow: Networks = Field(
        (), description="Networks that URLs may reach beside public addresses, as 10.1.0.0/16,fd00::/8, comma-separated"
    )
    deny_ports: Ports = Field(
        (22, 23, 25, 110, 143, 465, 587, 993, 995),
        description="Ports that no URL reaches, not even in an allowed network, comma-separated",
    )


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter=DELIMITER,
        env_file=".env",
        frozen=True,
        extra="ignore",
        env_ignore_empty=True,
        enable_decoding=False,  # no variable holds JSON, so a bad one is told like any other
        hide_input_in_errors=True,  # it may be a secret
    )

    task_delay: Seconds = Field(timedelta(0), description="How long every task waits first, to show asynchrony")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged")
    log_format: Literal["console", "json"] = Field("console", description="Lines for people or for machines")
    kafka: Kafka = Kafka()
    topics: TopicSettings = TopicSettings()
    gateway: Gateway = Gateway()
    tasks: Tasks = Tasks()
    callbacks: Callbacks = Callbacks()
    egress: Egress = Egress()

    @cached_property
    def topic_names(self) -> Topics:
        return Topics(self.topics.prefix)

    @cached_property
    def sizes(self) -> Sizes:
        return Sizes(self.topics.max_message_bytes)


def load_settings() -> Settings:
    """Read the settings.

    Raises:
        SettingsError: a value cannot be used.
    """
    try:
        settings = Settings()
    except ValidationError as error:
        lines = [f"{variable(detail['loc'])}: {_part(detail['loc'])}{detail['msg']}" for detail in error.errors()]
        raise SettingsError("\n".join(lines)) from error
    _check_that_records_fit(settings)
    _check_that_bodies_fit(settings.gateway)
    return settings


def _check_that_records_fit(settings: Settings) -> None:
    body, items = settings.gateway.body_limit, settings.gateway.item_limit
    if settings.topics.max_message_bytes < (least := least_record(body, items)):
        raise SettingsError(
            f"{variable(('topics', 'max_message_bytes'))}: must be at least {least} for what may come of a request: "
            f"{variable(('gateway', 'body_limit'))} is {body}, {variable(('gateway', 'item_limit'))} is {items}"
        )


def _check_that_bodies_fit(gateway: Gateway) -> None:
    """Refuse a budget that no largest body has room in: it counts twice, and an eighth is for small ones."""
    if gateway.in_flight_bytes < (least := 3 * gateway.body_limit):
        raise SettingsError(
            f"{variable(('gateway', 'in_flight_bytes'))}: must be at least {least}, three times "
            f"{variable(('gateway', 'body_limit'))}"
        )


def variable(path: tuple[int | str, ...]) -> str:
    """Return the environment variable of the setting at `path`; the parts of a list share one."""
    return PREFIX + DELIMITER.join(part for part in path if isinstance(part, str)).upper()


def _part(path: tuple[int | str, ...]) -> str:
    """Say which part of a list is meant, where its text cannot be shown."""
    return "".join(f"part {part + 1}: " for part in path if isinstance(part, int))
