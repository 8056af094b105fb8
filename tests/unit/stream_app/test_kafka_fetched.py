"""Whatever the bytes of a log are, what is no record is part of a gap, and nothing raises."""

import gc
import gzip
import random
import resource
import struct
import tracemalloc
import zlib
from collections.abc import Callable, Iterator, Sequence

import cramjam
import pytest
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.structs import ConsumerRecord
from aiokafka.structs import TopicPartition as Partition
from hypothesis import given, settings
from hypothesis import strategies as st

from callstream.contract.records import Gap
from stream_app import kafka_records
from stream_app.kafka_fetched import Fetched, Limits
from stream_app.kafka_marks import Marks
from tests.support.batches import ATTRIBUTES_AT, HEAD, NAME, batch, compressed, sealed, with_name

HERE = Partition("calculation.requests", 3)
MIB = 2**20
LIMITS = Limits(kept=MIB, inflated=8 * MIB)


def read(
    data: bytes,
    position: int = 0,
    *,
    end: int = 10**6,
    aborted: Sequence[tuple[int, int]] = (),
    marks: Marks | None = None,
) -> tuple[list[ConsumerRecord], int]:
    """Return what is read of `data`, and where the next fetch begins."""
    fetched = fetched_from(data, position, end=end, aborted=aborted, marks=marks or Marks())
    return list(fetched), fetched.next_fetch_offset


def fetched_from(
    data: bytes, position: int, *, end: int = 10**6, aborted: Sequence[tuple[int, int]] = (), marks: Marks
) -> Fetched:
    return Fetched(HERE, data, position, end=end, aborted=aborted, limits=LIMITS, gaps={}, marks=marks)


def values(found: list[ConsumerRecord]) -> list[bytes | tuple[int, int] | None]:
    """Return each record's value, or the offsets of the gap in its place."""
    return [
        (each.checksum.first, each.checksum.until) if isinstance(each.checksum, Gap) else each.value for each in found
    ]


def payload(raw: bytes) -> bytes:
    return raw[HEAD:]


def xerial(data: bytes) -> bytes:
    block = bytes(cramjam.snappy.compress_raw(data))
    return b"\x82SNAPPY\x00" + bytes([0, 0, 0, 1, 0, 0, 0, 1]) + struct.pack(">i", len(block)) + block


CODECS: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "gzip": (1, gzip.compress),
    "gzip in parts": (1, lambda data: gzip.compress(data[:20]) + gzip.compress(data[20:])),
    "snappy": (2, lambda data: bytes(cramjam.snappy.compress_raw(data))),
    "snappy of Java": (2, xerial),
    "lz4": (3, lambda data: bytes(cramjam.lz4.compress(data))),
    "zstd": (4, lambda data: bytes(cramjam.zstd.compress(data))),
}
GOOD = batch(b"a", None, b"c", base=7)
BEHIND = batch(b"behind", base=10)


@pytest.mark.parametrize("codec", CODECS)
def test_every_codec_is_read(codec: str) -> None:
    number, deflate = CODECS[codec]
    assert read(compressed(GOOD, number, deflate(payload(GOOD))) + BEHIND, 7)[1] == 11
    assert values(read(compressed(GOOD, number, deflate(payload(GOOD))) + BEHIND, 7)[0]) == [
        b"a",
        None,
        b"c",
        b"behind",
    ]


def test_a_fetch_from_the_middle_of_a_batch_brings_the_rest_of_it() -> None:
    assert values(read(GOOD + BEHIND, 9)[0]) == [b"c", b"behind"]


def test_what_is_cut_off_at_the_end_comes_with_the_next_fetch() -> None:
    found, following = read(GOOD + BEHIND[:-1], 7)
    assert (values(found), following) == ([b"a", None, b"c"], 10)


def test_a_name_that_is_not_utf_8_is_read_all_the_same() -> None:
    raw = with_name(batch(b"a", b"b", headers=[(NAME, b"x"), ("kept", None)]), b"r\xe9sum\xe9-\xff\xff\xff")
    (first, second), _ = read(raw)
    assert first.headers == second.headers == (("r\\xe9sum\\xe9-\\xff\\xff\\xff", b"x"), ("kept", None))
    assert (first.value, second.value) == (b"a", b"b")


DAMAGED = {
    "a wrong checksum": GOOD[:-1] + b"\x01",
    "an unknown codec": compressed(GOOD, 5, b"abc"),
    "gzip that is none": compressed(GOOD, 1, b"abc"),
    "gzip that is cut off": compressed(GOOD, 1, gzip.compress(payload(GOOD))[:-9]),
    "snappy that is none": compressed(GOOD, 2, b"\xff" * 9),
    "snappy of Java whose blocks lie": compressed(GOOD, 2, xerial(payload(GOOD))[:16] + struct.pack(">i", -1)),
    "lz4 that is none": compressed(GOOD, 3, b"abc"),
    "zstd that is none": compressed(GOOD, 4, b"abc"),
    "a format of the future": GOOD[:16] + b"\x03" + GOOD[17:],
    "no records but a count": sealed(GOOD[:HEAD]),
    "a count that is not what is in it": sealed(GOOD[: HEAD - 4] + struct.pack(">i", 4) + payload(batch(base=7))),
    "records that are noise": sealed(GOOD[:HEAD] + random.Random(7).randbytes(200)),  # noqa: S311 - the same each time
}


@pytest.mark.parametrize("name", DAMAGED)
def test_what_cannot_be_decoded_is_a_gap_with_its_bytes_and_the_partition_goes_on(name: str) -> None:
    found, following = read(DAMAGED[name] + BEHIND, 7)
    assert (values(found), following) == ([(7, 10), b"behind"], 11)
    assert found[0].offset == 7
    assert DAMAGED[name].endswith(found[0].value), "the bytes that can be had"
    assert found[0].checksum.why


def test_the_end_of_the_log_bounds_what_a_damaged_head_may_claim() -> None:
    raw = bytearray(GOOD)
    raw[ATTRIBUTES_AT + 2 : ATTRIBUTES_AT + 6] = struct.pack(">i", 2**31 - 1)
    found, following = read(bytes(raw), 7, end=10)
    assert (values(found), following) == ([(7, 10)], 10)
    # New records behind it bring it once more: it is not told twice.
    assert values(read(bytes(raw) + BEHIND, 10, end=11)[0]) == [b"behind"]


def test_a_damaged_record_takes_none_of_its_neighbours_with_it() -> None:
    raw = batch(b"first", b"second", b"third")
    at = raw.index(b"second") - 1
    found, _ = read(sealed(raw[:at] + b"\x7f" + raw[at + 1 :]))
    assert values(found) == [b"first", (1, 2), b"third"]
    assert b"second" in found[1].value


@pytest.mark.parametrize("delta", [2**31, -1, 0])
def test_an_offset_that_a_record_cannot_have_does_not_move_the_partition(delta: int) -> None:
    raw = batch(b"a", b"b")
    record = payload(batch(b"b"))
    zigzag, number = (delta << 1) ^ (delta >> 63), b""
    while zigzag > 127:
        number, zigzag = number + bytes([zigzag & 127 | 128]), zigzag >> 7
    second = record[1:3] + number + bytes([zigzag]) + record[4:]
    lying = sealed(raw[: HEAD + len(record)] + bytes([2 * len(second)]) + second)
    found, following = read(lying + batch(b"behind", base=2))
    assert (values(found), following) == ([b"a", (1, 2), b"behind"], 3)


BOMB = bytes(512 * MIB)


@pytest.mark.parametrize("codec", ["gzip", "lz4", "zstd", "snappy"])
def test_a_bomb_does_not_go_off(codec: str) -> None:
    number, deflate = {**CODECS, "gzip": (1, lambda data: zlib.compress(data, 1, 31))}[codec]
    raw = compressed(batch(b"a"), number, deflate(BOMB[: (64 if codec == "gzip" else 512) * MIB]))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found, _ = read(raw + batch(b"behind", base=1))
    assert values(found) == [(0, 1), b"behind"]
    assert len(found[0].value) <= LIMITS.kept
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024 < 100, "MiB, with its bytes themselves"


@pytest.mark.parametrize("count", [1_001, 300_000])
def test_headers_without_number_do_not_unfold(count: int) -> None:
    raw = batch(b"a", headers=[("", None)] * count)
    assert values(read(raw + batch(b"behind", base=1))[0]) == [(0, 1), b"behind"]


MANY = batch(*[b"x" * 300] * 3_000)


def counted(monkeypatch: pytest.MonkeyPatch, module: object, name: str) -> list[object]:
    """Return a list that grows by an entry for whatever the function of this name returns or yields."""
    found: list[object] = []
    function = getattr(module, name)

    def counting(*args: object) -> object:
        answer = function(*args)
        if isinstance(answer, Iterator):
            return (found.append(each) or each for each in answer)  # type: ignore[func-returns-value]
        found.append(answer)
        return answer

    monkeypatch.setattr(module, name, counting)
    return found


def test_nothing_before_a_position_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be millions of headers, in the thread that sends heartbeats."""
    decoded = counted(monkeypatch, kafka_records, "_body")
    assert next(fetched_from(MANY, 2_900, marks=Marks())).offset == 2_900
    assert len(decoded) == 1


def test_a_batch_that_is_read_again_is_gone_over_from_near_the_place_that_was_reached(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    marks = Marks()
    passed = counted(monkeypatch, kafka_records, "frames")
    for position, most in ((2_900, 2_901), (2_900, 1_001), (2_950, 1_001), (1_500, 1_001), (0, 1)):
        passed.clear()
        assert next(fetched_from(MANY, position, marks=marks)).offset == position
        assert len(passed) <= most
    other = batch(*[b"y" * 300] * 3_000)  # of a log that was made anew
    assert next(fetched_from(other, 2_900, marks=marks)).value == b"y" * 300


def test_a_batch_of_too_many_records_is_damaged() -> None:
    raw = batch(b"a")
    most = kafka_records.MOST_RECORDS
    lying = sealed(
        raw[: ATTRIBUTES_AT + 2] + struct.pack(">i", most) + raw[27 : HEAD - 4] + struct.pack(">i", most + 1)
    )
    found, _ = read(lying + batch(b"behind", base=most + 1))
    assert values(found) == [(0, most + 1), b"behind"]
    assert "200001 records" in found[0].checksum.why


def transaction(raw: bytes, producer: int, *, control: bool = False) -> bytes:
    attributes = 0x10 | (0x20 if control else 0)
    with_producer = raw[:43] + struct.pack(">q", producer) + raw[51:]
    return sealed(with_producer[:ATTRIBUTES_AT] + struct.pack(">h", attributes) + with_producer[ATTRIBUTES_AT + 2 :])


def test_what_was_aborted_is_passed_over_and_what_was_committed_is_not() -> None:
    log = [
        transaction(batch(b"aborted", base=0), 1),
        transaction(batch(b"committed", base=1), 2),
        transaction(batch(b"marker", base=2), 1, control=True),
        transaction(batch(b"committed later", base=3), 1),
        transaction(batch(b"marker", base=4), 1, control=True),
        transaction(batch(b"marker", base=5), 2, control=True),
        batch(b"without", base=6),
    ]
    found, following = read(b"".join(log), aborted=[(1, 0)])
    assert (values(found), following) == ([b"committed", b"committed later", b"without"], 7)


@pytest.mark.parametrize("magic", [0, 1])
@pytest.mark.parametrize("codec", [0, 1, 2])
def test_logs_from_before_kafka_0_11_are_read(magic: int, codec: int) -> None:
    builder = LegacyRecordBatchBuilder(magic, codec, 2**20)
    for offset, value in enumerate([b"a", b"b", b"c"]):
        builder.append(offset, 1_700_000_000_000, None, value)
    raw = bytes(builder.build())
    if codec:  # the broker gives the wrapper the offset of the last message in it
        raw = struct.pack(">q", 2) + raw[8:]
    assert values(read(raw)[0]) == [b"a", b"b", b"c"]
    found, following = read(raw[:-1] + b"\x01" + batch(b"behind", base=3))
    assert values(found)[-2:] == [(2, 3) if not codec else (0, 3), b"behind"]
    assert following == 4


FLIPS = st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), max_size=8)


@settings(max_examples=400, deadline=None)
@given(
    codec=st.sampled_from([None, *CODECS]),
    count=st.integers(1, 6),
    flips=FLIPS,
    cut=st.integers(0, 40),
    seal=st.booleans(),
)
def test_any_damage_leaves_records_and_gaps_in_order_and_costs_nothing_behind_it(
    codec: str | None,
    count: int,
    flips: list[tuple[int, int]],
    cut: int,
    seal: bool,  # noqa: FBT001 - drawn
) -> None:
    """Damage behind the head of the batch; with `seal` its checksum is right, as a hostile producer makes it."""
    raw = batch(*[b"x" * 20] * count, headers=[("name", b"value")])
    if codec is not None:
        number, deflate = CODECS[codec]
        raw = compressed(raw, number, deflate(payload(raw)))
    broken = bytearray(raw[: len(raw) - min(cut, len(raw) - HEAD)])
    for at, mask in flips:
        if len(broken) > HEAD:
            broken[HEAD + at % (len(broken) - HEAD)] ^= mask
    whole = sealed(bytes(broken)) if seal else broken[:8] + struct.pack(">i", len(broken) - 12) + broken[12:]
    found, following = read(bytes(whole) + batch(b"behind", base=count))
    covered: list[int] = []
    for each in found:
        gap = each.checksum
        covered += range(gap.first, gap.until) if isinstance(gap, Gap) else [each.offset]
    assert covered == sorted(set(covered))
    marks = Marks()
    for position in covered:
        again, _ = read(bytes(whole) + batch(b"behind", base=count), position, marks=marks)
        assert values(again) == [
            value for each, value in zip(found, values(found), strict=True) if each.offset >= position
        ] or position not in {each.offset for each in found}
    if whole == raw:
        assert covered == list(range(count + 1))
    else:  # a record may claim the next one's offset, as if the log was compacted
        assert set(covered) <= set(range(count + 1))
    assert covered[-1] == count
    assert following == count + 1


def test_whoever_lets_go_of_what_was_fetched_lets_go_of_what_is_inflated() -> None:
    """A partition that is held is let go of again and again, and its batches may be megabytes."""
    number, deflate = CODECS["zstd"]
    raw = batch(b"x", b"x" * 4 * MIB)
    raw = compressed(raw, number, deflate(payload(raw)))
    gc.collect()
    gc.disable()  # it is too late for megabytes
    tracemalloc.start()
    try:
        fetched = fetched_from(raw, 0, marks=Marks())
        assert next(fetched).value == b"x"
        before = tracemalloc.get_traced_memory()[0]
        del fetched
        assert before - tracemalloc.get_traced_memory()[0] > 4 * MIB
    finally:
        tracemalloc.stop()
        gc.enable()


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 2**40))
def test_noise_does_not_raise_nor_move_the_partition_back(noise: bytes, position: int) -> None:
    assert read(noise, position)[1] >= position
