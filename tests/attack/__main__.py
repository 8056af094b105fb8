"""`make attack`: 20,000 hostile requests and records from a seed, and what they did (SEED=, COUNT=)."""

import argparse
import asyncio
import os
import secrets
import sys
import tempfile
from pathlib import Path
from statistics import median

from tests.attack.runner import Report, run
from tests.attack.watch import limits
from tests.support.kafka import own_kafka

SLOWEST = 2.0  # seconds in which a probe's job must call back


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", default=os.environ.get("SEED") or secrets.token_hex(4))
    parser.add_argument("--count", type=int, default=int(os.environ.get("COUNT") or 20_000))
    options = parser.parse_args()
    report = asyncio.run(_attack(options.seed, options.count))
    faults = show(report)
    sys.stdout.write("\n".join(["", *(faults or ["Nothing came of it."]), ""]))
    return 1 if faults else 0


async def _attack(seed: str, count: int) -> Report:
    sys.stdout.write(f"SEED={seed} COUNT={count}\n")
    with tempfile.TemporaryDirectory(prefix="callstream-attack-") as name:
        directory = Path(name)
        async with own_kafka(directory) as kafka:
            return await run(kafka.bootstrap, "", directory, seed, count, _say, patience=180)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def show(report: Report) -> list[str]:
    """Print what was sent and what it did; return what must not be."""
    for title, counts in (("sent", report.sent), ("answers", report.answers), ("records", report.produced)):
        _say(f"\n{title}")
        for name, count in sorted(counts.items(), key=lambda one: (-one[1], one[0])):
            _say(f"  {count:6} {name}")
    most = limits()
    for name, peak in report.peaks.items():
        _say(f"{name}: {peak / 2**20:.0f} of {most[name] / 2**20:.0f} MiB at the most")
    for title, probes in (("probes", report.probes), ("behind batches, in their turn", report.behind)):
        _say(f"{title}: slowest {max(probes):.2f} s, median {median(probes):.2f} s, of {len(probes)}")
    _say(f"accepted: {report.accepted}, {len(report.missing)} without an end; dead letters: {report.letters}")
    _say(f"SEED={report.seed}, {report.seconds:.0f} s")
    return faults(report)


def faults(report: Report) -> list[str]:
    slow = [seconds for seconds in report.probes if seconds > SLOWEST]
    return [
        *(f"a process ended: {end}" for end in report.ends),
        *(f"{name} went beyond its memory" for name in report.too_heavy),
        *([f"{len(slow)} probes took longer than {SLOWEST} s, up to {max(slow):.2f} s"] if slow else []),
        *(f"accepted and lost: {missing}" for missing in report.missing),
        *(f"not read: {stuck}" for stuck in report.stuck),
        *report.holes,
        *(f"answered that nobody knows whether it was stored: {unknown}" for unknown in report.unknown),
    ]


if __name__ == "__main__":
    sys.exit(main())
