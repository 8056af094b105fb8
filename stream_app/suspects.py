"""Which records may have killed the process: those are tried in ever smaller groups, alone in the end, and given up.

A group that has lived for a while lets the next one in beside it, for what hangs must not keep the others waiting.

What is known of a partition stands beside its committed offset, in the metadata of the commit
(docs/decisions/0007-crash-suspects-in-commit-metadata.md, 0019-suspects-are-tried-in-groups.md).
"""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from typing import NamedTuple, Self

from callstream.contract.dead_letters import Reason
from callstream.contract.records import Record, TopicPartition
from callstream.runtime.logs import get_logger
from stream_app.output import ProduceError

log = get_logger()

_DEATHS = 2  # of one partition's owners, before its suspects are tried
_TRIES = 3  # of one record alone, before it is given up
_TOGETHER = 256  # suspects, at most
_NARROWER = 16  # times smaller are the groups into which one is split that did not end well
_LIVES = 0.25  # seconds that a group is watched, after it is begun
_LONGER = 4  # times as long it is watched after each further death: what kills late is found, too
_MOST_LONGER = 10  # times
# So many records of a partition may be begun between two commits, which is what a process does in that time. Where it
# were more, the first suspects would be cleared and further deaths lead on to the others.
_BETWEEN_COMMITS = 2_000
_SAVE_AGAIN = 0.1  # seconds
_FORM = re.compile(
    r"callstream/1 owner=([0-9a-f]{8}|-) begun=([0-9]{1,19}) deaths=([0-9]{1,9}) until=([0-9]{1,19}) "
    r"tried=([0-9]{1,19}) tries=([0-9]{1,9})(?: width=([0-9]{1,9}))?"
)


class Note(NamedTuple):
    """What is kept of a partition.

    `owner` is the process that runs it, and empty when it was given back in good order; it had begun the records before
    `begun` at the time. After `deaths` of owners, without the partition having passed the offset `until`, the records
    before that are suspects; the `width` of them from `tried` on were begun together, and nothing else, `tries` times.
    """

    owner: str = ""
    begun: int = 0
    deaths: int = 0
    until: int = 0
    tried: int = 0
    tries: int = 0
    width: int = 0

    @classmethod
    def read(cls, text: str | None) -> Self:
        """Return what is written there; an empty note if it is damaged or not ours."""
        found = _FORM.fullmatch(text or "")
        if found is None:
            return cls()
        owner, *numbers, width = found.groups()
        begun, deaths, until, tried, tries = map(int, numbers)
        # Without a width it is of a version that tried them one at a time.
        return cls(owner.strip("-"), begun, deaths, until, tried, tries, bool(tries) if width is None else int(width))

    def __str__(self) -> str:
        if self == Note():
            return ""
        fields = self._replace(owner=self.owner or "-")._asdict()
        return " ".join(["callstream/1", *(f"{name}={value}" for name, value in fields.items())])

    def at(self, position: int) -> "Note":
        """Return what is left of the note at `position`: nothing is suspected once it is passed."""
        return self if position < self.until else Note(self.owner)

    def group_of(self, partition: TopicPartition, offset: int, largest: int) -> "Group":
        """Return whom the suspect at `offset` is tried with; where none has ended badly, those are `largest`."""
        width = self.width or largest
        split = width * _NARROWER  # what was split into groups of this width
        if offset // split != self.tried // split:
            width = largest
        return Group(partition, offset - offset % width, width)

    def tries_of(self, group: "Group") -> int:
        return self.tries if (self.tried, self.width) == (group.first, group.width) else 0


class Group(NamedTuple):
    """Suspects that are tried together: those from `first` on, as far as `width` offsets go."""

    partition: TopicPartition
    first: int
    width: int


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
    note = note._replace(owner=owner, deaths=note.deaths + 1, until=until)
    if note.tries and note.width > 1:  # one of several it was
        return note._replace(width=max(1, note.width // _NARROWER), tries=0)
    return note


class Suspects:
    """Stands between the workload and what processes records, for one process.

    `refuse` puts a record aside. `save` commits every partition's position with its note, and returns whether it did.
    At most `together` suspects are tried at once, which is a power of 16, and watched for `lives` seconds, longer after
    each death, before others are begun beside them. `standing_by` is a context in which a record waits for something
    else than its own work. `go_on` is told of a partition that need not wait for its last suspects any more.
    """

    def __init__(  # noqa: PLR0913 - its policy, and the world around it
        self,
        process: Callable[[Record], Awaitable[None]],
        refuse: Callable[[Record, Reason, str], Awaitable[None]],
        save: Callable[[], Awaitable[bool]],
        *,
        together: int = _TOGETHER,
        lives: float = _LIVES,
        standing_by: Callable[[], AbstractContextManager[None]] = nullcontext,
        go_on: Callable[[TopicPartition], None] = lambda _: None,
    ) -> None:
        self._process = process
        self._refuse = refuse
        self._save = save
        self._owner = secrets.token_hex(4)
        self._notes: dict[TopicPartition, Note] = {}
        self._begun: dict[TopicPartition, int] = {}
        self._failed: set[TopicPartition] = set()
        self._together = together
        self._lives = lives
        self._standing_by = standing_by
        self._go_on = go_on
        self._trials: dict[TopicPartition, _Trial] = {}
        self._living = 0  # suspects under way, those on trial and those that have outlived theirs
        self._changed = asyncio.Event()
        self._excused = False
        self._excusing = asyncio.Lock()

    def left_by_the_dead(self, note: Note) -> bool:
        return note.owner not in {"", self._owner}

    def take_over(self, places: Mapping[TopicPartition, Place]) -> None:
        """Begin to own these partitions and no others."""
        self._notes = {partition: self._inherit(partition, place) for partition, place in places.items()}
        self._begun = {partition: offset for partition, offset in self._begun.items() if partition in places}
        self._failed &= places.keys()
        self._excused = False

    def give_back(self) -> None:
        """Note that this process is done with its partitions in good order; not with those where a record failed."""
        for partition, note in self._notes.items():
            if partition not in self._failed:
                self._notes[partition] = self._acquitted(partition, note)

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
        if self._excused:
            left = self._acquitted(partition, left)
        return str(left._replace(begun=self._begun.get(partition, position)) if left.owner else left)

    def alone(self, record: Record) -> bool:
        """Return whether nothing more of its partition may be begun beside this record and those before it."""
        if not self._suspected(record):
            return False
        note = self._notes[record.partition]
        group = self._group(record)
        return record.offset + 1 >= min(group.first + group.width, note.until)

    async def process(self, record: Record) -> None:
        self._begun[record.partition] = max(record.offset + 1, self._begun.get(record.partition, 0))
        try:
            if self._suspected(record):
                await self._try(record)
            else:
                await self._process(record)
        except ProduceError:  # the broker's fault and no record's
            await self._excuse()
            raise
        except asyncio.CancelledError:
            raise
        except BaseException:
            self._failed.add(record.partition)
            raise

    async def _try(self, record: Record) -> None:
        group = self._group(record)
        async with self._turn(group):
            tries = self._known(group).tries_of(group)
            if group.width == 1 and tries > _TRIES:
                await self._refuse(record, Reason.CRASHED, f"processed {_TRIES} times, the process died each time")
            else:
                await self._process(record)

    @asynccontextmanager
    async def _turn(self, group: Group) -> AsyncIterator[None]:
        """Let the suspects of one group of a partition be tried at a time, after it is durable that they are."""
        with self._standing_by():
            while not self._is_next(group):
                await self._changed.wait()
        trial = self._trials.setdefault(group.partition, _Trial(group, alone=self._blamed(group)))
        trial.members += 1
        self._living += 1
        try:
            with self._standing_by():
                await self._begin(trial)
            self._watch(trial)
            yield
        except ProduceError:
            trial.left = trial.before
            raise
        except BaseException:
            trial.left = None
            raise
        finally:
            trial.members -= 1
            self._living -= 1
            if not trial.members:
                self._end(trial)
            self._look_again()  # who is to be alone waits for all that live

    def _is_next(self, group: Group) -> bool:
        if (trial := self._trials.get(group.partition)) is not None:
            return trial.group == group
        if self._blamed(group):
            return not self._living
        return not any(each.alone for each in self._trials.values())

    def _blamed(self, group: Group) -> bool:
        """Return whether the process died while this one was tried, alone: it is tried again beside no other."""
        return group.width == 1 and self._known(group).tries_of(group) > 0

    def _watch(self, trial: "_Trial") -> None:
        """Let the next group in when this one has lived for long enough since the last of it was begun."""
        if trial is not self._trials.get(trial.group.partition) or trial.alone:
            return
        if trial.alarm is not None:
            trial.alarm.cancel()
        further = self._known(trial.group).deaths - _DEATHS
        seconds = self._lives * _LONGER ** min(max(further, 0), _MOST_LONGER)
        trial.alarm = asyncio.get_running_loop().call_later(seconds, self._outlived, trial)

    def _outlived(self, trial: "_Trial") -> None:
        self._end(trial)
        self._look_again()
        self._go_on(trial.group.partition)

    def _look_again(self) -> None:
        self._changed.set()
        self._changed.clear()

    async def _begin(self, trial: "_Trial") -> None:
        async with trial.beginning:
            if trial.begun:
                return
            group = trial.group
            tries = trial.before = self._known(group).tries_of(group)
            if tries:
                place = f"{_name(group.partition)}@{group.first}"
                log.warning("record.tried-again", origin=place, records=group.width, tries=tries + 1)
            self._count(group, tries + 1)
            # With all the others, so that none of those that ended well is blamed for what these may do.
            while not await self._save():  # noqa: ASYNC110 - the group rebalances and will cancel this
                await asyncio.sleep(_SAVE_AGAIN)
            trial.begun = True

    def _end(self, trial: "_Trial") -> None:
        """Let others be tried: nothing of this one is under way any more, or it has lived for long enough."""
        if trial is not self._trials.get(trial.group.partition):
            return  # it was outlived before
        del self._trials[trial.group.partition]
        if trial.alarm is not None:
            trial.alarm.cancel()
        if trial.left is not None:
            self._count(trial.group, trial.left)

    async def _excuse(self) -> None:
        """Return when the broker has taken notes that blame no record: this process ends because the broker was away.

        Nothing is gained by an end before: who comes after it would wait for the broker as well.
        """
        self._excused = True
        with self._standing_by():
            async with self._excusing:
                while not await self._save():  # noqa: ASYNC110 - likewise
                    await asyncio.sleep(_SAVE_AGAIN)

    def _acquitted(self, partition: TopicPartition, note: Note) -> Note:
        """Return the note as it is to be left by who has not died: what it is trying ends by its own hand."""
        on_trial = partition in self._trials and note.tries > 0
        return note._replace(owner="", tries=note.tries - on_trial)

    def _suspected(self, record: Record) -> bool:
        note = self._notes.get(record.partition)
        return note is not None and note.deaths >= _DEATHS and record.offset < note.until

    def _group(self, record: Record) -> Group:
        return self._notes[record.partition].group_of(record.partition, record.offset, self._together)

    def _known(self, group: Group) -> Note:
        """Return the note of the group's partition; an empty one if that is not ours any more."""
        return self._notes.get(group.partition, Note())

    def _count(self, group: Group, tries: int) -> None:
        if (note := self._notes.get(group.partition)) is not None:
            self._notes[group.partition] = note._replace(tried=group.first, width=group.width, tries=tries)

    def _inherit(self, partition: TopicPartition, place: Place) -> Note:
        note = inherited(place, self._owner)
        if note.deaths > place.note.deaths:
            suspects = note.until - place.position
            log.warning("partition.suspected", partition=_name(partition), deaths=note.deaths, suspects=suspects)
        return note


class _Trial:
    """A group that is being tried, with how many of it are under way; beside no other suspect if it is to be `alone`.

    `before` is how often it was tried before, `left` what that is to be afterwards; None where it ended the process.
    """

    def __init__(self, group: Group, *, alone: bool) -> None:
        self.group = group
        self.alone = alone
        self.alarm: asyncio.TimerHandle | None = None
        self.members = 0
        self.beginning = asyncio.Lock()
        self.begun = False
        self.before = 0
        self.left: int | None = 0


def _name(partition: TopicPartition) -> str:
    return f"{partition.topic}/{partition.partition}"
