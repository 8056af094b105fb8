"""Attacks by records that others write: requests, results, and what waits in the tiers."""

import json
import random
import struct
import time
from collections.abc import Callable
from functools import cache, partial

import cramjam
from aiokafka.record.util import decode_varint, encode_varint

from tests.attack.kinds import attack
from tests.attack.material import (
    FIELDS,
    ODD_BYTES,
    ODD_VALUES,
    calculation,
    encoded,
    item_headers_body,
    mutated,
    nested,
    odd_url,
    padded,
    spoiled,
)
from tests.attack.target import CODECS, STUFFED, Header, Target
from tests.support.batches import ATTRIBUTES_AT, HEAD, NAME, TIME, batch, compressed, sealed, with_name

records = partial(attack, "records")
REQUESTS = ("calculation.requests", "data.requests")
RESULTS = "task.results"
_SNAPPY = 2  # the codec's number in a batch
AHEAD = 1_800_000  # milliseconds: Kafka itself refuses what is more than an hour ahead
TIMES = [
    b"9999-12-31T23:59:59+00:00",
    b"0001-01-01T00:00:00+00:00",
    b"2999-12-31T00:00:00+00:00",
    b"1970-01-01T00:00:00Z",
    b"2026-01-01",
    b"soon",
    b"",
    b"\xff",
    b"2026-01-01T00:00:00+00:00",
    b"9999-12-31T23:59:59-23:59",
]
COUNTS = [b"-9", b"0", b"1", b"99999999999999999999", b"1e3", b"", b"\xff", "٣".encode(), b" 1 ", b"9" * 5_000]


def result(chance: random.Random, target: Target, **changes: object) -> dict[str, object]:
    """Return a result as a task agent writes it, or nearly."""
    moment = "2026-01-01T00:00:00Z"
    return {
        "task_id": f"attack-{target.number}",
        "task": "calculation",
        "callback_url": target.anyone(chance),
        "results": [{"sum": 3}],
        "errors": [],
        "times": {"received": moment, "started": moment, "finished": moment},
        **changes,
    }


def progress(chance: random.Random) -> list[Header]:
    """Return headers of a result that waits, out of every range."""
    headers: list[Header] = [
        ("callback_attempts", chance.choice(COUNTS)),
        ("callback_waits", chance.choice(COUNTS)),
        ("callback_first_seen", chance.choice(TIMES)),
        ("callback_due", chance.choice(TIMES)),
        ("callback_last_error", chance.choice(ODD_BYTES)),
    ]
    chance.shuffle(headers)
    return headers[: chance.choice([1, 4, 5, 5, 5, 5])] * chance.choice([1, 1, 1, 2])


@records(weight=12)
async def mutated_request(chance: random.Random, target: Target) -> None:
    value = json.dumps(mutated(chance, target.anyone(chance))).encode()
    if chance.random() < 0.3:
        value = spoiled(chance, value)
    key = chance.choice([None, b"", b"key", chance.randbytes(8), b"\xff" * 10_000])
    stamp = chance.choice([0, 0, 1, int(time.time() * 1_000) + AHEAD])
    await target.produce(chance.choice(REQUESTS), value, key, codec=chance.choice(CODECS), timestamp=stamp)


@records(weight=3)
async def record_wrong_in_many_places(chance: random.Random, target: Target) -> None:
    await target.produce("data.requests", item_headers_body(chance, target), codec=chance.choice(CODECS))


@records(weight=8)
async def odd_record_headers(chance: random.Random, target: Target) -> None:
    count = chance.choice([1, 2, 5, 1_000])
    headers: list[Header] = [(chance.choice(FIELDS), chance.choice([None, *ODD_BYTES])) for _ in range(count)]
    topic = chance.choice([*REQUESTS, RESULTS])
    value = calculation(target.honest) if topic in REQUESTS else result(chance, target)
    await target.produce(topic, json.dumps(value).encode(), headers=headers, codec=chance.choice(CODECS))


@records(weight=2)
async def huge_record_header(chance: random.Random, target: Target) -> None:
    size = chance.choice([4_096, 65_536, 2**20, target.record_limit - 5_000])
    headers: list[Header] = [(chance.choice(FIELDS), b"a" * size)]
    topic = chance.choice([*REQUESTS, RESULTS, *target.tiers])
    value = calculation(target.honest) if topic in REQUESTS else result(chance, target)
    await target.produce(topic, json.dumps(value).encode(), headers=headers)


@records(weight=10)
async def progress_out_of_range(chance: random.Random, target: Target) -> None:
    topic = chance.choice([RESULTS, *target.tiers])
    await target.produce(topic, json.dumps(result(chance, target)).encode(), headers=progress(chance))


@records(weight=8)
async def odd_result(chance: random.Random, target: Target) -> None:
    fields = ["task_id", "task", "callback_url", "results", "errors", "times", "extra"]
    changed = result(chance, target, **{chance.choice(fields): chance.choice(ODD_VALUES)})
    if chance.random() < 0.2:
        del changed[chance.choice(list(changed))]
    topic = chance.choice([RESULTS, *target.tiers])
    await target.produce(topic, json.dumps(changed).encode(), codec=chance.choice(CODECS))


@records(weight=3)
async def odd_result_url(chance: random.Random, target: Target) -> None:
    value = result(chance, target, callback_url=odd_url(chance, target))
    await target.produce(RESULTS, json.dumps(value).encode())


@records(weight=3)
async def encoded_record(chance: random.Random, target: Target) -> None:
    topic = chance.choice([*REQUESTS, RESULTS, *target.tiers])
    value = calculation(target.honest) if topic in REQUESTS else result(chance, target)
    await target.produce(topic, encoded(chance, json.dumps(value)))


@records(weight=2)
async def nested_record(chance: random.Random, target: Target) -> None:
    most = target.body_limit if (topic := chance.choice([*REQUESTS, RESULTS, *target.tiers])) in REQUESTS else 3 * 2**20
    value = nested(chance, most - 1_000)
    if topic not in REQUESTS and chance.random() < 0.7:
        # Otherwise good: the values are what is deep or wide.
        value = json.dumps(result(chance, target, results=["%s"])).encode().replace(b'"%s"', b'{"a": ' + value + b"}")
    await target.produce(topic, value, codec=chance.choice(CODECS))


@records(weight=2)
async def request_size(chance: random.Random, target: Target) -> None:
    size = chance.choice([target.body_limit, target.record_limit - 100]) + chance.choice([-1, 0, 1])
    await target.produce(REQUESTS[0], padded(calculation(target.honest), size), codec=chance.choice(CODECS))


@records(weight=2)
async def result_size(chance: random.Random, target: Target) -> None:
    """A result at the limit of its topic, at a receiver that fails: it has to fit into tiers and dead letters."""
    size = target.record_limit - 70 + chance.choice([-40, -3, -2, -1, 0, 1])
    filled = result(chance, target, results=[{"a": "x"}])
    room = size - len(json.dumps(filled))
    filled["results"] = [{"a": "x" * room}]
    await target.produce(RESULTS, json.dumps(filled).encode(), codec=chance.choice(CODECS))


@records(weight=1)
async def large_values_of_nothing(chance: random.Random, target: Target) -> None:
    """What is small on its way and large when it is there."""
    value = bytes(target.record_limit - 1_000)
    await target.produce(chance.choice([*REQUESTS, RESULTS, *target.tiers]), value, codec=chance.choice(CODECS[1:]))


@records(weight=2)
async def tombstone(chance: random.Random, target: Target) -> None:
    topic = chance.choice([*REQUESTS, RESULTS, *target.tiers])
    await target.produce(topic, None, chance.choice([b"key", b"\xff", b""]), codec=chance.choice(CODECS))


@records(weight=3)
async def foreign_batch(chance: random.Random, target: Target) -> None:
    """A batch as no client of ours would write it."""
    topic = chance.choice([*REQUESTS, RESULTS, *target.tiers])
    value = json.dumps(calculation(target.honest) if topic in REQUESTS else result(chance, target)).encode()
    await target.put(topic, chance.choice(STUFFED), _foreign(chance, value, f"attack-{target.number}"))


@records(weight=2)
async def foreign_batch_for_operators(chance: random.Random, target: Target) -> None:
    """What `callstream dead-letters` reads; at the end it has to list and plan nevertheless."""
    topic = chance.choice(["task.dead-letters", "callback.dead-letters", "callback.attempts"])
    value = json.dumps(result(chance, target)).encode()
    await target.put(topic, chance.choice(STUFFED), _foreign(chance, value, f"attack-{target.number}"))


@records(weight=1)
async def batch_of_very_many(chance: random.Random, target: Target) -> None:
    """A small batch that unfolds to more records, or more headers, than a reader can go over at once."""
    topic = chance.choice([*REQUESTS, RESULTS, *target.tiers])
    count, headers = chance.choice([(300, 1_000), (20, 10_000), (200_001, 0)])
    await target.put(topic, chance.choice(STUFFED), _many(count, headers))


@records(weight=1)
async def backlog_in_one_partition(_: random.Random, target: Target) -> None:
    """Hundreds of good requests in a few kilobytes, which are not to keep the other partitions waiting."""
    raw = batch(*[json.dumps(calculation(None)).encode()] * 500)
    await target.put(REQUESTS[0], 0, compressed(raw, 4, bytes(cramjam.zstd.compress(raw[HEAD:]))))


@records(weight=1)
async def small_batches_of_large_results(chance: random.Random, target: Target) -> None:
    """A few kilobytes in each partition of a tier, or of the results, that inflate to several large results."""
    topic = chance.choice([RESULTS, *target.tiers])
    filled = result(chance, target, results=[{"a": "x" * (target.record_limit // 3)}])
    raw = batch(*[json.dumps(filled).encode()] * 5, headers=progress(chance) if topic != RESULTS else ())
    for partition in STUFFED:
        await target.put(topic, partition, compressed(raw, 4, bytes(cramjam.zstd.compress(raw[HEAD:]))))


@cache
def _many(count: int, headers: int) -> bytes:
    raw, records = batch(None, headers=[("", b"")] * headers), bytearray()
    tail = raw[HEAD:]
    _, at = decode_varint(tail, 0)
    attributes_and_time, fields = tail[at : at + 2], tail[at + 3 :]
    for number in range(count):
        offset = bytearray()
        encode_varint(number, offset.append)
        body = attributes_and_time + offset + fields
        encode_varint(len(body), records.append)
        records += body
    last = struct.pack(">i", count - 1)
    head = raw[: ATTRIBUTES_AT + 2] + last + raw[ATTRIBUTES_AT + 6 : HEAD - 4] + struct.pack(">i", count)
    return compressed(head, 4, bytes(cramjam.zstd.compress(bytes(records))))


def _foreign(chance: random.Random, value: bytes, task_id: str) -> bytes:
    good = batch(value, headers=[(NAME, b"x"), ("ce_id", task_id.encode())])
    forms: list[Callable[[], bytes]] = [
        lambda: with_name(good, chance.randbytes(len(NAME))),
        lambda: compressed(good, 4, _bomb(chance.choice([8, 64]))),
        lambda: compressed(good, 4, _dense()),
        lambda: _noise(chance, good, chance.choice([1, 2, 3, 4, 5, 7])),
        lambda: sealed(
            good[:ATTRIBUTES_AT] + struct.pack(">h", chance.choice([8, 16, 48, 64])) + good[ATTRIBUTES_AT + 2 :]
        ),
        lambda: sealed(good[:HEAD] + spoiled(chance, good[HEAD:])),
        lambda: sealed(good.replace(struct.pack(">q", TIME), struct.pack(">q", chance.choice([-1, 2**62, 0])))),
        lambda: batch(None, value, None, b""),
    ]
    return chance.choice(forms)()


def _noise(chance: random.Random, good: bytes, codec: int) -> bytes:
    """Return a batch that no codec made.

    A broker takes memory for as many bytes as snappy's first ones say, up to 2 GiB, and ends where it has less.
    """
    noise = chance.randbytes(100)
    return compressed(good, codec, b"\x7f" + noise[1:] if codec == _SNAPPY else noise)


@cache
def _dense() -> bytes:
    """Return what inflates to as much as may be, takes forty times that when it is built, and is not msgspec's JSON."""
    value = b'{"callback_url": "http://127.0.0.1:9/", "message": [' + b"[0]," * (15 * 2**18) + b"NaN]}"
    return bytes(cramjam.zstd.compress(batch(value)[HEAD:]))


@cache
def _bomb(mebibytes: int) -> bytes:
    return bytes(cramjam.zstd.compress(batch(bytes(mebibytes * 2**20))[HEAD:]))
