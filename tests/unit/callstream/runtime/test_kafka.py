"""A process waits for its topics, and for no more of them than it needs."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from callstream.runtime import kafka as module
from callstream.runtime.kafka import await_topics
from callstream.runtime.settings import Settings

SOURCES = frozenset({"calculation.requests", "data.requests"})
ALL = {*SOURCES, "task.results"}


@asynccontextmanager
async def waiting(monkeypatch: pytest.MonkeyPatch, *there: set[str]) -> AsyncIterator[tuple[set[str], list[str]]]:
    """Wait for all topics, while the broker has these, one after the other; give what was found, and what was told."""
    looks: Iterator[set[str]] = iter(there)

    async def look(_: Settings) -> set[str]:
        return next(looks)

    monkeypatch.setattr(module, "_topics", look)
    monkeypatch.setattr(module, "_LOOK_AGAIN", 0)
    told: list[str] = []
    async with asyncio.timeout(5):
        yield await await_topics(Settings(), ALL, SOURCES, told.append), told
    assert next(looks, None) is None, "it waited no longer than it had to"


async def test_one_source_is_enough_and_what_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"data.requests", "task.results"}
    async with waiting(monkeypatch, there) as (found, told):
        assert found == there
        assert told == ["missing topics, which `callstream topics` creates: calculation.requests"]


async def test_what_is_no_source_and_the_first_of_these_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async with waiting(monkeypatch, {*SOURCES}, {*SOURCES}, {"task.results"}, ALL) as (found, told):
        assert found == ALL
        assert [text.partition(": ")[2] for text in told] == ["task.results", "calculation.requests, data.requests", ""]
