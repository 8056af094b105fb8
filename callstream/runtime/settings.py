"""Every setting: read once, from the environment or `.env`, typed and frozen."""

from datetime import timedelta
from functools import cached_property
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveInt, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from callstream.contract.topics import Topics

PREFIX = "CALLSTREAM_"
DELIMITER = "__"
_MIB = 2**20


class SettingsError(Exception):
    """A setting has a value that cannot be used; the text names the variable, a line each."""


def _seconds(value: object) -> object:
    """Read a plain number as seconds, as `.env` files write it."""
    try:
        return timedelta(seconds=float(value)) if isinstance(value, str | int | float) else value
    except OverflowError:
        raise ValueError("the number is too large") from None


Seconds = Annotated[timedelta, BeforeValidator(_seconds), Field(ge=timedelta(0), le=timedelta(days=1))]
PositiveSeconds = Annotated[timedelta, BeforeValidator(_seconds), Field(gt=timedelta(0), le=timedelta(days=1))]


def _parts(value: object) -> object:
    return tuple(part for part in value.split(",") if part.strip()) if isinstance(value, str) else value


Schedule = Annotated[tuple[Seconds, ...], BeforeValidator(_parts)]


class Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Kafka(Group):
    bootstrap: str = Field(
        "127.0.0.1:9092",
        pattern=r"^[^\s,:]+:\d{1,5}(,[^\s,:]+:\d{1,5})*$",
        description="Brokers to ask first, HOST:PORT, comma-separated",
    )
    idempotent: bool = Field(
        default=True, description="Produce idempotently; false only for a broker without it (the embedded one)"
    )
    session_timeout: PositiveSeconds = Field(
        timedelta(seconds=10), description="Seconds without a heartbeat after which a dead consumer's partitions move"
    )
    request_timeout: PositiveSeconds = Field(
        timedelta(seconds=30), description="Seconds after which tasks and callbacks give up on one request to a broker"
    )


class TopicSettings(Group):
    prefix: str = Field(
        "", pattern=r"^[a-zA-Z0-9._-]{0,100}$", description="Put before every topic and group; one an install"
    )
    partitions: int = Field(6, ge=1, le=10_000, description="Partitions of each topic; the most replicas that help")
    replication_factor: int = Field(-1, ge=-1, le=100, description="Copies of each partition; -1: the broker's default")
    max_message_bytes: int = Field(
        4 * _MIB, ge=64 * 1024, le=512 * _MIB, description="Largest record in bytes; twice that for dead letters"
    )


class Gateway(Group):
    body_limit: PositiveInt = Field(_MIB, description="Largest request body in bytes, at both doors")
    deadline: PositiveSeconds = Field(
        timedelta(seconds=5), description="Seconds within which every request has its answer"
    )
    in_flight: PositiveInt = Field(
        5_000, description="Records of one gateway process that wait for the broker; beyond it 503"
    )


class Tasks(Group):
    window: PositiveInt = Field(
        1_000, description="Records a partition that may be begun and not committed: the bound on duplicates"
    )
    in_flight: PositiveInt = Field(2_000, description="Tasks under way in one process")
    item_concurrency: PositiveInt = Field(10, description="Items of one task under way at once")
    item_deadline: PositiveSeconds = Field(timedelta(seconds=30), description="Seconds for one item")
    fetch_limit: PositiveInt = Field(_MIB, description="Largest answer to a data fetch in bytes")
    drain: Seconds = Field(timedelta(seconds=20), description="Seconds that a stop waits for work under way")


class Callbacks(Group):
    window: PositiveInt = Field(
        1_000, description="Records a partition that may be begun and not committed: the bound on duplicates"
    )
    in_flight: PositiveInt = Field(500, description="Callbacks under way in one process")
    deadline: PositiveSeconds = Field(
        timedelta(seconds=15), description="Seconds for one attempt: name, connection, TLS and answer"
    )
    schedule: Schedule = Field(
        (timedelta(seconds=0.5), timedelta(seconds=2), timedelta(seconds=5)),
        description="Seconds to wait after each failed attempt, comma-separated; then a dead letter",
    )
    drain: Seconds = Field(timedelta(seconds=20), description="Seconds that a stop waits for work under way")


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter=DELIMITER,
        env_file=".env",
        frozen=True,
        extra="ignore",
        env_ignore_empty=True,
        enable_decoding=False,  # no variable holds JSON, so a bad one is told like any other
    )

    task_delay: Seconds = Field(timedelta(0), description="Seconds that every task waits first, to show asynchrony")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged")
    log_format: Literal["console", "json"] = Field("console", description="Lines for people or for machines")
    kafka: Kafka = Kafka()
    topics: TopicSettings = TopicSettings()
    gateway: Gateway = Gateway()
    tasks: Tasks = Tasks()
    callbacks: Callbacks = Callbacks()

    @cached_property
    def topic_names(self) -> Topics:
        return Topics(self.topics.prefix)


def load_settings() -> Settings:
    """Read the settings.

    Raises:
        SettingsError: a value cannot be used.
    """
    try:
        return Settings()
    except ValidationError as error:
        lines = [f"{variable(detail['loc'])}: {detail['msg']}" for detail in error.errors()]
        raise SettingsError("\n".join(lines)) from error


def variable(path: tuple[int | str, ...]) -> str:
    """Return the environment variable of the setting at `path`; the parts of a list share one."""
    return PREFIX + DELIMITER.join(part for part in path if isinstance(part, str)).upper()
