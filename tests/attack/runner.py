"""Runs attacks from a seed against the whole pipeline, and tells what they did to it."""

import asyncio
import resource
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from aiokafka import AIOKafkaConsumer
from confluent_kafka import Producer

from tests.attack import records, rest  # noqa: F401 - they register their kinds
from tests.attack.accounts import Accounts
from tests.attack.kinds import HUNDRED, chosen
from tests.attack.strangers import strangers, taking_all
from tests.attack.target import CODECS, PARTITIONS, Target
from tests.attack.watch import SERVICES, Watch, budgets, limits, watching
from tests.support.pipeline import Pipeline, pipeline_on
from tests.support.processes import run_to_end
from tests.support.receiver import Receiver, receiving
from tests.support.waiting import eventually

SCHEDULE = ("1s", "2s")
# Short times, so that what fails comes to its end within the run; what bounds memory and sizes is as it is shipped.
SETTINGS = {
    "CALLSTREAM_TOPICS__PARTITIONS": str(PARTITIONS),
    "CALLSTREAM_TASKS__ITEM_DEADLINE": "1s",
    "CALLSTREAM_TASKS__DEADLINE": "3s",
    "CALLSTREAM_CALLBACKS__DEADLINE": "1s",
    "CALLSTREAM_CALLBACKS__SCHEDULE": ",".join(SCHEDULE),
    "CALLSTREAM_CALLBACKS__RETRY_AFTER_CAP": "1s",
    "CALLSTREAM_CALLBACKS__EXPIRY": "10s",
}
_BODY_LIMIT, _ITEM_LIMIT, _RECORD_LIMIT = 2**20, 1_000, 4 * 2**20  # as in SETTINGS' defaults
_AT_ONCE = 25
_SHOWN = 500  # characters of an output


@dataclass
class Report:
    seed: str
    sent: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    produced: Counter[str] = field(default_factory=Counter)
    holes: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)  # answered so by the gateway
    ends: list[str] = field(default_factory=list)
    probes: list[float] = field(default_factory=list)  # seconds, in the partition that is not stuffed
    behind: list[float] = field(default_factory=list)  # seconds, in those that are, the longest of each hundred
    peaks: dict[str, int] = field(default_factory=dict)  # bytes
    accepted: int = 0
    missing: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    letters: int = 0
    seconds: float = 0.0

    @property
    def too_heavy(self) -> list[str]:
        return [name for name, limit in limits().items() if self.peaks[name] > limit]


async def run(  # noqa: PLR0913, PLR0917 - what it is told by the command line, and where it is
    bootstrap: str, prefix: str, directory: Path, seed: str, count: int, say: Callable[[str], None], patience: float
) -> Report:
    """Send attacks 0 to `count`, probes after each hundred; `patience` is the time for what was accepted to end."""
    began = time.monotonic()
    report = Report(seed)
    async with _field(bootstrap, prefix, directory) as (target, pipeline, honest, watch):
        await watch.probe(honest)  # warm
        for first in range(0, count, HUNDRED):
            numbers = range(first, min(first + HUNDRED, count))
            sent = await _hundred(target, seed, numbers)
            report.sent.update(sent)
            place = f"attacks {first} to {numbers[-1]}, {f'all {next(iter(sent))}' if len(sent) == 1 else 'mixed'}"
            await watch.revive(place)
            *behind, seconds = await watch.probe(honest)
            report.probes.append(seconds)
            report.behind.append(max(behind))
            say(f"{place}: a probe took {seconds:.2f} s, behind batches {max(behind):.2f} s")
        say(f"all sent after {time.monotonic() - began:.0f} s")
        await _end_of_all(target, pipeline, report, patience)
        await watch.revive("at the end")
        watch.look()
        report.answers, report.produced = target.answers, target.produced
        report.holes, report.unknown = target.holes, target.unknown
        report.ends, report.peaks = watch.ends, watch.peaks
    report.seconds = time.monotonic() - began
    return report


@asynccontextmanager
async def _field(
    bootstrap: str, prefix: str, directory: Path
) -> AsyncIterator[tuple[Target, Pipeline, Receiver, Watch]]:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    async with AsyncExitStack() as stack:
        honest = await stack.enter_async_context(receiving())
        urls = await stack.enter_async_context(strangers())
        pipeline = await stack.enter_async_context(
            pipeline_on(bootstrap, directory, {**SETTINGS, **budgets(), "CALLSTREAM_TOPICS__PREFIX": prefix})
        )
        watch = await stack.enter_async_context(watching(pipeline))
        parts = urlsplit(pipeline.url)
        target = Target(
            host=parts.hostname or "",
            port=parts.port or 0,
            bootstrap=bootstrap,
            prefix=prefix,
            tiers=[f"callback.retry.{delay}" for delay in SCHEDULE],
            body_limit=_BODY_LIMIT,
            item_limit=_ITEM_LIMIT,
            record_limit=_RECORD_LIMIT,
            strangers=urls,
            honest=await stack.enter_async_context(taking_all()),
            producers={codec: _producer(bootstrap, codec) for codec in CODECS},
        )
        polling = asyncio.create_task(_poll(target))
        stack.callback(polling.cancel)
        yield target, pipeline, honest, watch
        for task in target.held:
            task.cancel()
        await asyncio.gather(*target.held, return_exceptions=True)


async def _hundred(target: Target, seed: str, numbers: range) -> Counter[str]:
    places = asyncio.Semaphore(_AT_ONCE)
    sent: Counter[str] = Counter()

    async def one(number: int) -> None:
        kind, chance = chosen(seed, number)
        sent[kind.name] += 1
        async with places:
            await kind.run(chance, replace(target, kind=kind.name, number=number))

    await asyncio.gather(*map(one, numbers))
    return sent


async def _end_of_all(target: Target, pipeline: Pipeline, report: Report, patience: float) -> None:
    """Wait until all that was accepted has ended and all that was produced is read, or note what is not."""
    accounts = Accounts(pipeline)
    report.accepted = len(target.accepted)
    to_call = [task_id for task_id, accepted in target.accepted.items() if accepted.calls_back]
    missing = set(to_call)
    stuck = ["nothing was looked at in all that time"]

    async def over() -> bool:
        nonlocal missing, stuck
        missing = await accounts.missing(to_call)
        stuck = await _lag(pipeline, target)
        return not missing and not stuck

    with suppress(AssertionError):
        await eventually(over, patience)
    report.missing = [f"#{target.accepted[task_id].number} {task_id}" for task_id in sorted(missing)]
    report.stuck, report.letters = stuck, accounts.letters
    await _operators(target, pipeline)


async def _operators(target: Target, pipeline: Pipeline) -> None:
    """Read what the operators read, which attacks have written to as well; tell of a hole where that ends early."""
    command = ("dead-letters", "replay", "--all", "--dry-run")
    exit_code, output = await run_to_end(*command, env=pipeline.env, directory=pipeline.directory, deadline=600)
    if exit_code or "nothing was done" not in output:
        target.hole(f"`{' '.join(command)}` ended with {exit_code}: {output[-_SHOWN:]}")


async def _lag(pipeline: Pipeline, target: Target) -> list[str]:
    """Return the partitions that are not read to their end."""
    groups = {
        "tasks": ["calculation.requests", "data.requests"],
        "callbacks": ["task.results", *target.tiers],
    }
    found = []
    for group, topics in groups.items():
        committed = await pipeline.committed(group)
        names = [pipeline.prefix + topic for topic in topics]
        async with AIOKafkaConsumer(*names, bootstrap_servers=pipeline.env["CALLSTREAM_KAFKA__BOOTSTRAP"]) as reader:
            for partition, end in (await reader.end_offsets(reader.assignment())).items():
                at = committed[partition].offset if partition in committed else 0
                if at < end:
                    found.append(f"{partition.topic}/{partition.partition} is at {at} of {end}")
    return found


def _producer(bootstrap: str, codec: str) -> Producer:
    return Producer(
        {
            "bootstrap.servers": bootstrap,
            "compression.type": codec,
            "message.max.bytes": 10**8,
            "linger.ms": 5,
            "log_level": 0,
        }
    )


async def _poll(target: Target) -> None:
    """Let the producers tell what became of their records."""
    while True:
        for producer in target.producers.values():
            producer.poll(0)
        await asyncio.sleep(0.005)


__all__ = ["SERVICES", "Report", "run"]
