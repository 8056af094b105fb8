"""Which records may have killed the process: those are begun one at a time, and given up after three tries.

What is known of a partition stands beside its committed offset, in the metadata of the commit
(docs/decisions/0007-crash-suspects-in-commit-metadata.md).
"""

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple, Self

from callstream.contract.dead_letters import Reason
from callstream.contract.records import Record, TopicPartition
from callstream.runtime.logs import get_logger
from stream_app.output import ProduceError

log = get_logger()

_DEATHS = 2  # of one partition's owners, before its suspects are begun one at a time
_TRIES = 3  # of one record alone, before it is given up
# So many records of a partition may be begun between two commits, which is what a process does in that time. Where it
# were more, the first suspects would be cleared and further deaths lead on to the others.
_BETWEEN_COMMITS = 2_000
_SAVE_AGAIN = 0.1  # seconds
_FORM = re.compile(
    r"callstream/1 owner=([0-9a-f]{8}|-) begun=([0-9]{1,19}) deaths=([0-9]{1,9}) until=([0-9]{1,19}) "
    r"tried=([0-9]{1,19}) tries=([0-9]{1,9})"
)


class Note(NamedTuple):
    """What is kept of a partition.

    `owner` is the process that runs it, and empty when it was given back in good order; it had begun the records before
    `begun` at the time. After `deaths` of owners, without the partition having passed the offset `until`, the records
    before that are suspects; the one at `tried` was begun alone `tries` times.
    """

    owner: str = ""
    begun: int = 0
    deaths: int = 0
    until: int = 0
    tried: int = 0
    tries: int = 0

    @classmethod
    def read(cls, text: str | None) -> Self:
        """Return what is written there; an empty note if it is damaged or not ours."""
        found = _FORM.fullmatch(text or "")
        return cls(found[1].strip("-"), *map(int, found.groups()[1:])) if found else cls()

    def __str__(self) -> str:
        if self == Note():
            return ""
        fields = self._replace(owner=self.owner or "-")._asdict()
        return " ".join(["callstream/1", *(f"{name}={value}" for name, value in fields.items())])

    def at(self, position: int) -> "Note":
        """Return what is left of the note at `position`: nothing is suspected once it is passed."""
        return self if position < self.until else Note(self.owner)

    def tries_of(self, offset: int) -> int:
        return self.tries if self.tried == offset else 0


class Place(NamedTuple):
    """A partition as its new owner finds it: `position` is where to begin, `end` behind the last record."""

    note: Note
    position: int
    end: int


def inherited(place: Place, owner: str) -> Note:
    """Return the note of a partition's new owner.

    Another owner's name on the note says that it died. Where it can have had nothing in flight, the partition had no
    part in that. Further deaths add no suspects: who kills again was there at the first of them.
    """
    note = place.note.at(place.position)
    if note.owner in {"", owner}:
        return note._replace(owner=owner)
    begun = max(place.note.begun, place.position)
    until = min(note.until or begun + _BETWEEN_COMMITS, place.end)
    if until <= place.position:
        return Note(owner)
    return note._replace(owner=owner, deaths=note.deaths + 1, until=until)


class Suspects:
    """Stands between the workload and what processes records, for one process.

    `refuse` puts a record aside. `save` commits every partition's position with its note, and returns whether it did.
    """

    def __init__(
        self,
        process: Callable[[Record], Awaitable[None]],
        refuse: Callable[[Record, Reason, str], Awaitable[None]],
        save: Callable[[], Awaitable[bool]],
    ) -> None:
        self._process = process
        self._refuse = refuse
        self._save = save
        self._owner = secrets.token_hex(4)
        self._notes: dict[TopicPartition, Note] = {}
        self._begun: dict[TopicPartition, int] = {}
        self._failed: set[TopicPartition] = set()
        self._turn = asyncio.Lock()
        self._on_trial: TopicPartition | None = None

    def left_by_the_dead(self, note: Note) -> bool:
        return note.owner not in {"", self._owner}

    def take_over(self, places: Mapping[TopicPartition, Place]) -> None:
        """Begin to own these partitions and no others."""
        self._notes = {partition: self._inherit(partition, place) for partition, place in places.items()}
        self._begun.clear()
        self._failed.clear()

    def give_back(self) -> None:
        """Note that this process is done with its partitions in good order; not with those where a record failed."""
        for partition, note in self._notes.items():
            if partition not in self._failed:
                tries = note.tries - (partition == self._on_trial)  # that one ends by our hand
                self._notes[partition] = note._replace(owner="", tries=tries)

    def forget(self, partition: TopicPartition) -> None:
        """Suspect nothing of a partition: its log is not the one that the note is of."""
        if partition in self._notes:
            self._notes[partition] = Note(self._owner)
            self._begun.pop(partition, None)

    def note(self, partition: TopicPartition, position: int) -> str:
        """Return what to commit with this position."""
        known = self._notes.get(partition)
        if known is None:
            return ""
        self._notes[partition] = left = known.at(position)
        if left.deaths < known.deaths:
            log.info("partition.cleared", partition=_name(partition), position=position)
        return str(left._replace(begun=self._begun.get(partition, position)) if left.owner else left)

    def alone(self, record: Record) -> bool:
        """Return whether nothing else of its partition may be under way with this record."""
        note = self._notes.get(record.partition)
        return note is not None and note.deaths >= _DEATHS and record.offset < note.until

    async def process(self, record: Record) -> None:
        self._begun[record.partition] = record.offset + 1
        try:
            if self.alone(record):
                async with self._turn:
                    await self._try(record)
            else:
                await self._process(record)
        except ProduceError:  # the broker's fault and no record's
            raise
        except Exception:
            self._failed.add(record.partition)
            raise

    async def _try(self, record: Record) -> None:
        tries = self._notes[record.partition].tries_of(record.offset)
        if tries >= _TRIES:
            await self._refuse(record, Reason.CRASHED, f"processed {tries} times, the process died each time")
            return
        if tries:
            log.warning("record.tried-again", origin=f"{_name(record.partition)}@{record.offset}", tries=tries + 1)
        self._on_trial = record.partition
        try:
            self._count(record, tries + 1)
            # With all the others, so that none of those that ended well is blamed for what this one may do.
            while not await self._save():  # noqa: ASYNC110 - the group rebalances and will cancel this
                await asyncio.sleep(_SAVE_AGAIN)
            await self._process(record)
            self._count(record, 0)
        except ProduceError:
            self._count(record, tries)
            raise
        finally:
            self._on_trial = None

    def _count(self, record: Record, tries: int) -> None:
        note = self._notes[record.partition]
        self._notes[record.partition] = note._replace(tried=record.offset, tries=tries)

    def _inherit(self, partition: TopicPartition, place: Place) -> Note:
        note = inherited(place, self._owner)
        if note.deaths > place.note.deaths:
            suspects = note.until - place.position
            log.warning("partition.suspected", partition=_name(partition), deaths=note.deaths, suspects=suspects)
        return note


def _name(partition: TopicPartition) -> str:
    return f"{partition.topic}/{partition.partition}"
