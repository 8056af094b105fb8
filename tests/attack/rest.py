"""Attacks on the gateway's port."""

import asyncio
import json
import random
from functools import partial
from typing import Any

from tests.attack.kinds import attack
from tests.attack.material import (
    CALCULATION,
    DATA,
    ITEM,
    ODD_BYTES,
    ODD_TEXTS,
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
from tests.attack.target import Target, request

rest = partial(attack, "rest")
SOURCES = [f"127.0.0.{number}" for number in range(2, 30)]  # clients of their own, as the gateway sees it


@rest(weight=8)
async def strange_receiver(chance: random.Random, target: Target) -> None:
    """A good request whose receiver answers anything."""
    await target.post(CALCULATION, calculation(target.receiver(chance)))


@rest(weight=10)
async def strange_api(chance: random.Random, target: Target) -> None:
    """A good request whose items fetch from APIs that answer anything."""
    items = [
        {"name": str(number), "url": target.api(chance), "method": chance.choice(["GET", "POST"])}
        for number in range(chance.choice([1, 1, 2, 12]))
    ]
    await target.post(DATA, {"callback_url": target.honest, "message": items})


@rest(weight=2)
async def many_items_at_one_api(chance: random.Random, target: Target) -> None:
    """What one answer costs, a hundred times; names that are as long as a URL may be, and what has to be quoted."""
    tails = ["", "x" * 8_000, "ü" * 500, "<" * 1_000]
    host = "x" * chance.choice([63, 64, 8_000])
    url = chance.choice([target.api(chance) + chance.choice(tails), f"http://{host}.example/"])
    items = [{"name": str(number), "url": url} for number in range(100)]
    await target.post(DATA, {"callback_url": target.honest, "message": items})


@rest(weight=2)
async def hanging_apis(chance: random.Random, target: Target) -> None:
    """Fetches that hold as many connections as they are given, to hosts that say nothing or little."""
    slow = [url for url in target.strangers if url.endswith(("/hang/", "/crawl/"))]
    items = [{"name": "x", "url": f"{chance.choice(slow)}{number}"} for number in range(10)]
    await target.post(DATA, {"callback_url": target.honest, "message": items})


@rest(weight=6)
async def item_headers(chance: random.Random, target: Target) -> None:
    """An item sets headers of its request: framing, hop by hop, and those that no request may have."""
    names = [
        "Content-Length",
        "Transfer-Encoding",
        "Connection",
        "Host",
        "Expect",
        "Upgrade",
        "TE",
        "X",
        "x y",
        "é",
        "",
        "a\r\nb",
        "Authorization",
        "Content-Encoding",
        "Accept-Encoding",
    ]
    values = ["0", "chunked", "5, 5", "100-continue", "gzip", "a\r\nX: y", "\u0000", "é", "x" * 70_000, *ODD_TEXTS]
    headers = {chance.choice(names): chance.choice(values) for _ in range(chance.choice([1, 2, 200]))}
    payload = chance.choice([*ODD_VALUES, {"a": "b" * 100_000}])
    item = {"name": "x", "url": target.api(chance), "method": "POST", "headers": headers, "payload": payload}
    await target.post(DATA, {"callback_url": target.honest, "message": [item]})


@rest(weight=3)
async def item_of_many_headers(chance: random.Random, target: Target) -> None:
    """As many headers in one item as its body has room for, right or wrong, the same or others."""
    await target.post(DATA, item_headers_body(chance, target))


@rest(weight=12)
async def mutation(chance: random.Random, target: Target) -> None:
    await target.post(chance.choice([CALCULATION, DATA]), mutated(chance, target.honest))


@rest()
async def spoiled_bytes(chance: random.Random, target: Target) -> None:
    await target.post(CALCULATION, spoiled(chance, json.dumps(calculation(target.honest)).encode()))


@rest()
async def encodings(chance: random.Random, target: Target) -> None:
    headers = chance.choice(
        [[], [(b"Content-Encoding", b"gzip")], [(b"Content-Type", b"application/json; charset=utf-16")]]
    )
    await target.post(CALCULATION, encoded(chance, json.dumps(calculation(target.honest))), headers)


@rest(weight=3)
async def nested_body(chance: random.Random, target: Target) -> None:
    value = nested(chance, target.body_limit - 1_000)
    frame = chance.choice([b"%s", b'{"callback_url": "%u", "message": [%s]}', b'{"callback_url": "%u", "message": %s}'])
    body = frame.replace(b"%u", target.honest.encode()).replace(b"%s", value)
    await target.post(chance.choice([CALCULATION, DATA]), body)


@rest(weight=3)
async def nested_payload(chance: random.Random, target: Target) -> None:
    value = nested(chance, chance.choice([1_000, 100_000, target.body_limit - 1_000]))
    body = (
        b'{"callback_url": "%s", "message": [{"name": "x", "url": "%s", "method": "POST", "payload": {"a": %s}}]}'
        % (
            target.honest.encode(),
            target.api(chance).encode(),
            value,
        )
    )
    await target.post(DATA, body)


@rest(weight=2)
async def wrong_everywhere(chance: random.Random, target: Target) -> None:
    """As many errors as a body can have; below and above what is validated in the loop."""
    size = chance.choice([16_000, 32_000, 64_000, target.body_limit - 1_000])
    head = b'{"callback_url": "%s", "message": [' % target.honest.encode()
    wrong = [
        head + b'{"name": "x", "url": "u", "headers": {%s}}]}' % b",".join([b'"":1'] * (size // 5)),
        head + b"%s]}" % b",".join([b"{}"] * (size // 3)),
        head + b'{"name": "x", "url": "u", "payload": [%s]}]}' % b",".join([b"{}"] * (size // 3)),
    ]
    answer = await target.post(chance.choice([CALCULATION, DATA]), chance.choice(wrong))
    if answer.status == 503 and b"died" in answer.body:
        target.hole(f"to come again, though it would again be {answer.body[:300]!r}")


@rest(weight=1)
async def crowd(chance: random.Random, target: Target) -> None:
    """One client on many connections, each with a body that is dear to validate."""
    size = chance.choice([15_000, 32_000, 64_000, 200_000])
    value = chance.choice([b"[]", b"{}", b"1e100", b"[" * 100 + b"]" * 100])
    body = b'{"callback_url": "%s", "message": [{"name": "x", "url": "u", "payload": {"a": [%s]}}]}' % (
        target.honest.encode(),
        b",".join([value] * (size // (len(value) + 1))),
    )
    source = chance.choice(SOURCES)
    await asyncio.gather(*(target.send(request(DATA, body), source=source) for _ in range(50)))


@rest(weight=2)
async def body_size(chance: random.Random, target: Target) -> None:
    size = target.body_limit + chance.choice([-1, 0, 1])
    answer = await target.post(CALCULATION, padded(calculation(target.honest), size))
    if (answer.status == 413) != (size > target.body_limit) and answer.status not in {0, 503}:
        target.hole(f"a body of {size} bytes was answered {answer.status}, the limit is {target.body_limit}")


@rest(weight=2)
async def item_count(chance: random.Random, target: Target) -> None:
    count = target.item_limit + chance.choice([-1, 0, 1, 10_000])
    body = {"callback_url": target.honest, "message": [{**ITEM, "name": str(number)} for number in range(count)]}
    await target.post(CALCULATION, body)


@rest(weight=2)
async def large_result(chance: random.Random, target: Target) -> None:
    """Names and errors that make the most of a request's bytes in its result."""
    name = chance.choice(['"', "\\", "\u0000", "\U0001f600", "a"]) * chance.choice([1_000, 50_000])
    count = max(1, min(target.item_limit, target.body_limit // (len(json.dumps(name)) + 100)))
    items = [{**ITEM, "name": name, "num_2": chance.choice([0, 1]), "operation": "/"} for _ in range(count)]
    await target.post(CALCULATION, {"callback_url": target.honest, "message": items})


@rest(weight=6)
async def known_headers(chance: random.Random, target: Target) -> None:
    """Headers that mean something to us, with values that do not."""
    names = [b"tracestate", b"traceparent", b"ce_id", b"Callback-Deadline", b"Idempotency-Key", b"baggage"]
    headers = [(chance.choice(names), chance.choice(ODD_BYTES)) for _ in range(chance.choice([1, 1, 2, 6]))]
    await target.post(CALCULATION, calculation(target.honest), headers)


@rest(weight=3)
async def many_headers(chance: random.Random, target: Target) -> None:
    count = chance.choice([99, 100, 101, 1_000, 20_000])
    await target.post(CALCULATION, calculation(target.honest), [(b"x-%d" % number, b"y") for number in range(count)])


@rest(weight=3)
async def huge_header(chance: random.Random, target: Target) -> None:
    size = chance.choice([8_190, 32_768, 65_535, 65_536, 65_537, 2**20, 4 * 2**20])
    name = chance.choice([b"x", b"tracestate", b"Idempotency-Key", b"x" * 1_000])
    await target.post(CALCULATION, calculation(target.honest), [(name, b"a" * size)])


@rest(weight=1)
async def endless_head(chance: random.Random, target: Target) -> None:
    """A head of 120 MiB, as one header or as many."""
    part = chance.choice([b"a" * 2**20, b"x: y\r\n" * 2**17])
    head = [f"POST {CALCULATION} HTTP/1.1\r\nHost: a\r\nx: ".encode(), *[part] * 120]
    await target.send(head, source=chance.choice(SOURCES))


@rest(weight=4)
async def odd_header(chance: random.Random, target: Target) -> None:
    names = [b"x", b"x y", b"", b":", b"\xff", b"x\x00", b"Content-Length ", b" x", "\u017fet-cookie".encode()]
    values = [*ODD_BYTES, b"a\r\n b", b"a\nb: c", b"a\rb"]
    await target.post(CALCULATION, calculation(target.honest), [(chance.choice(names), chance.choice(values))])


@rest(weight=6)
async def framing(chance: random.Random, target: Target) -> None:
    """Where does the body end? Whoever is before us in a proxy may think otherwise."""
    body = json.dumps(calculation(target.honest)).encode()
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    length = b"Content-Length: %d" % len(body)
    te = b"Transfer-Encoding: chunked"
    heads: list[tuple[list[bytes], bytes]] = [
        ([length, te], chunked),
        ([te, te], chunked),
        ([length, length], body),
        ([length, b"Content-Length: 1"], body),
        ([b"Content-Length: -1"], body),
        ([b"Content-Length: +%d" % len(body)], body),
        ([b"Content-Length: 0x10"], body),
        ([b"Content-Length: " + b"9" * 400], body),
        ([b"Content-Length: %d" % 2**64], body),
        ([b"Transfer-Encoding: identity, chunked"], chunked),
        ([b"Transfer-Encoding: xchunked"], chunked),
        ([b"Transfer-Encoding:\x0bchunked"], chunked),
        ([te], b"ffffffffffffffff\r\n" + body),
        ([te], b"-1\r\n" + body),
        ([te], b"%x;%s\r\n%s\r\n0\r\n\r\n" % (len(body), b"e" * 100_000, body)),
        ([te], b"%x\r\n%s\r\n0\r\n%s\r\n" % (len(body), body, b"x: y\r\n" * 10_000)),
        ([te], b"%x\n%s\n0\n\n" % (len(body), body)),
        ([te], b"1\r\n \r\n" * 5_000 + chunked),
        ([length, b"Expect: 100-continue"], body),
        ([length, b"Expect: 200-ok"], body),
        ([length, b"Upgrade: h2c", b"Connection: Upgrade, HTTP2-Settings", b"HTTP2-Settings: AAMAAABk"], body),
        ([], body),
    ]
    lines, sent = chance.choice(heads)
    head = b"\r\n".join(
        [f"POST {CALCULATION} HTTP/1.1".encode(), b"Host: a", b"Content-Type: application/json", *lines]
    )
    # Some promise more than they send: then it is ours to wait for it, up to the deadline.
    await target.send(head + b"\r\n\r\n" + sent, source=chance.choice(SOURCES))


@rest(weight=6)
async def wrong_request(chance: random.Random, target: Target) -> None:
    """Methods, paths, versions and Hosts that are none."""
    methods = ["GET", "PUT", "DELETE", "OPTIONS", "CONNECT", "TRACE", "HEAD", "post", "P\x00ST", "PRI", "A" * 5_000, ""]
    paths = [
        CALCULATION,
        CALCULATION + "/",
        "/" + CALCULATION,
        "*",
        "",
        "/v1/tasks/x",
        "/v1/tasks/%00",
        "/..%2f",
        "/%ff",
        "/" + "a" * 100_000,
        "http://evil.example/",
        CALCULATION + "?" + "a=b&" * 20_000,
        "/docs",
        "/metrics",
        "/openapi.json",
        "/asyncapi.yaml",
        "/é",
        "/v1/calculation/basic#",
        "//evil.example/%2e%2e",
    ]
    hosts = [
        b"localhost",
        b"",
        b"evil.example",
        b"a" * 70_000,
        b"\xff",
        b"a, b",
        b"localhost\r\nHost: b",
        b"[::1",
        b"a:99999",
    ]
    raw = request(
        chance.choice(paths),
        chance.choice([b"", json.dumps(calculation(target.honest)).encode()]),
        method=chance.choice(methods),
        host=chance.choice(hosts),
    )
    version = chance.choice(
        [b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1.1 x", b"http/1.1"]
    )
    raw = raw.replace(b"HTTP/1.1", version, 1)
    if chance.random() < 0.2:
        raw = raw.replace(b"Host: ", b"X: ", 1)
    answer = await target.send(raw)
    if 300 <= answer.status < 400:
        target.hole(f"answered {answer.status} {answer.head[:300]!r}")


@rest(weight=3)
async def odd_callback_url(chance: random.Random, target: Target) -> None:
    await target.post(CALCULATION, calculation(odd_url(chance, target)))


@rest(weight=3)
async def odd_fetch_url(chance: random.Random, target: Target) -> None:
    await target.post(
        DATA,
        {"callback_url": target.honest, "message": [{"name": "x", "url": odd_url(chance, target)} for _ in range(3)]},
    )


@rest(weight=2)
async def garbage(chance: random.Random, target: Target) -> None:
    forms = [
        chance.randbytes(chance.choice([1, 100, 100_000])) + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + chance.randbytes(200),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\r\n" * 50_000,
        b"GET / HTTP/1.1\r\n" * 1_000 + b"\r\n",
        b"\x00" * 100_000,
    ]
    await target.send(chance.choice(forms), source=chance.choice(SOURCES))


@rest(weight=2)
async def pipelined(chance: random.Random, target: Target) -> None:
    """Many requests in one go, and nobody to read the answers."""
    one = request(*chance.choice([(CALCULATION, mutated(chance, target.honest)), ("/nowhere", b"")]))
    target.hold([one * chance.choice([2, 100])], 1.0, chance.choice(SOURCES))


@rest(weight=2)
async def half_head(chance: random.Random, target: Target) -> None:
    whole = request(CALCULATION, calculation(target.honest))
    cut = chance.randrange(1, whole.index(b"\r\n\r\n"))
    target.hold([whole[:cut], *chance.choice([[], [b"x: y\r\n"] * 25])], 1.0, chance.choice(SOURCES))


@rest(weight=2)
async def slow_body(chance: random.Random, target: Target) -> None:
    whole = request(CALCULATION, padded(calculation(target.honest), chance.choice([200, 5_000, target.body_limit])))
    start = whole.index(b"\r\n\r\n") + 4 + chance.choice([0, 100])
    parts: list[Any] = [whole[:start], *(bytes([byte]) for byte in whole[start : start + chance.choice([0, 25])])]
    target.hold(parts, 1.0, chance.choice(SOURCES))
