"""Where a record stands, as people write it: `topic/partition@offset`."""

import re
from typing import NamedTuple, Self

from callstream.contract.records import Record, TopicPartition
from cli.errors import CommandError

_PLACE = re.compile(r"([a-zA-Z0-9._-]{1,249})/([0-9]{1,9})@([0-9]{1,18})")


class Place(NamedTuple):
    partition: TopicPartition
    offset: int

    @classmethod
    def of(cls, record: Record) -> Self:
        return cls(record.partition, record.offset)

    @classmethod
    def read(cls, text: str) -> Self:
        """Read what `str` gives.

        Raises:
            CommandError: it is no place.
        """
        if not (found := _PLACE.fullmatch(text)):
            raise CommandError(f"{text!r} is no place such as callback.dead-letters/0@42")
        return cls(TopicPartition(found[1], int(found[2])), int(found[3]))

    def __str__(self) -> str:
        topic, partition = self.partition
        return f"{topic}/{partition}@{self.offset}"
