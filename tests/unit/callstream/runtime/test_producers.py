"""A record's partition is that of its key."""

import pytest
from aiokafka.partitioner import DefaultPartitioner

from callstream.runtime.producers import partition_for

PARTITIONS = list(range(12))


@pytest.mark.parametrize("size", [0, 1, 36, 1_024])
def test_keys_have_the_partition_that_kafkas_own_clients_choose(size: int) -> None:
    keys = [bytes([number]) * size for number in range(50)]
    theirs = [DefaultPartitioner()(key, PARTITIONS, PARTITIONS) for key in keys]
    assert [partition_for(key, PARTITIONS, PARTITIONS) for key in keys] == theirs
    assert partition_for(None, PARTITIONS, [7]) == 7


def test_a_long_key_is_not_hashed_in_python(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[int] = []

    def murmur2(key: bytes) -> int:
        hashed.append(len(key))
        return key[0]

    monkeypatch.setattr("aiokafka.partitioner.murmur2", murmur2)
    found = {partition_for(bytes([number]) * 2**20, PARTITIONS, PARTITIONS) for number in range(50)}
    assert found == set(PARTITIONS)
    assert max(hashed) <= 8
