"""Hostile values, chosen by a seeded generator; whoever makes an attack takes them from here."""

import json
import random
from collections.abc import Callable
from typing import Any

from tests.attack.target import Target

CALCULATION, DATA = "/v1/calculation/basic", "/v1/data/from-api"
ITEM: dict[str, Any] = {"name": "sum", "num_1": 1, "num_2": 2, "operation": "+", "result_rounding": 0}

ODD_VALUES: list[object] = [
    None,
    "",
    "x",
    -1,
    0,
    1e308,
    -1e308,
    [],
    {},
    [[]],
    {"a": {"b": [1]}},
    True,
    "\u0000",
    10**40,
    10**400,
    "ftp://a/",
    "\ud800",
    "\U0001f600" * 50,
    "a" * 70_000,
    float("nan"),
    float("inf"),
    "1e999",
    "١٢٣",
    "\u202e",
    2**63,
    -(2**63),
    "\x1b[2J\x1b]0;owned\x07",
    "a\r\nb: c",
    {"__class__": "x"},
    "../../etc/passwd",
    "${jndi:ldap://a/}",
    "{{7*7}}",
]
ODD_TEXTS = [text for text in ODD_VALUES if isinstance(text, str)]
ODD_BYTES = [
    b"",
    b"\x00",
    b"\xff",
    b"\xff" * 100,
    b"one",
    b"\xed\xa0\x80",
    b"a\tb",
    b"x" * 255,
    b"x" * 256,
    b"x" * 257,
    b"x" * 4_096,
    b"x" * 8_191,
    "résumé".encode("latin-1"),
    "。".encode(),
    b"\x1b[31m",
    b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-00",
    b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01",
    b"9999-12-31T23:59:59+00:00",
    b"0001-01-01T00:00:00+23:59",
    b"soon",
    b"2026-01-01T00:00:00",
    b"2026-01-01T00:00:00." + b"1" * 5_000 + b"Z",
    b"-9",
    b"1e999",
    b"9" * 5_000,
    b"null",
]
FIELDS = [
    "tracestate",
    "traceparent",
    "ce_id",
    "callback_deadline",
    "ce_type",
    "content-type",
    "",
    "x",
    "dead_letter_reason",
]


def item_headers_body(chance: random.Random, target: Target) -> bytes:
    """Return a request of one item with headers: few enough, just too many, or what its limit has room for."""
    form = chance.choice([b'"%x":""', b'"%x":1', b'"":%d', b'"%x":[[]]'])
    count = chance.choice([90, 101, target.body_limit // 16])
    headers = b",".join(form % number for number in range(count))
    urls = target.honest.encode(), target.api(chance).encode()
    return b'{"callback_url":"%b","message":[{"name":"x","url":"%b","headers":{%b}}]}' % (*urls, headers)


def odd_url(chance: random.Random, target: Target) -> str:
    """Return a URL that must not be reached, cannot be, or is another's spelling."""
    host = chance.choice(
        [
            "127.0.0.1",
            "0",
            "0x7f.1",
            "2130706433",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "169.254.169.254",
            "10.0.0.1",
            "[64:ff9b::7f00:1]",
            "localhost",
            "victim。example",
            "xn--a",
            "a" * 64 + ".example",
            "\u00ad.example",
            "ex\u200bample.example",
            "\uff4cocalhost",
            "a..b",
            "-a.example",
            "a_b.example",
            "user:pw@example.invalid",
            "[::1%25lo]",
        ]
    )
    port = chance.choice(["", ":0", f":{target.port}", ":70000", ":22", ":-1", ":٣"])
    scheme = chance.choice(["http", "http", "https", "HTTP", "ftp", "file", "javascript", "http:http"])
    return f"{scheme}://{host}{port}/{chance.choice(ODD_TEXTS)[:500]}"


def nested(chance: random.Random, most: int) -> bytes:
    """Return JSON that is deep, wide or long, of at most `most` bytes."""
    depth = chance.choice([10, 100, 500, 999, 1_000, 10_000, most // 8])
    wide = most // 4
    forms: list[Callable[[], bytes]] = [
        lambda: b"[" * depth,
        lambda: b"[" * depth + b"]" * depth,
        lambda: b'{"a":' * depth + b"1" + b"}" * depth,
        lambda: b"[" + b"[]," * (most // 3 - 2) + b"[]]",
        lambda: b"[" + b"1e999," * (most // 6 - 2) + b"1]",
        lambda: b"[" + b"0," * (wide - 2) + b"0]",
        lambda: b"{" + b",".join(b'"%d":0' % number for number in range(most // 12)) + b"}",
        lambda: b"{" + b'"a":0,' * (most // 6 - 2) + b'"a":1}',
        lambda: b"9" * chance.choice([400, 4_300, 4_301, 100_000]),
        lambda: b'"' + b"\\ud800" * (most // 6 - 1) + b'"',
        lambda: b'"' + b"\\u0000" * (most // 6 - 1) + b'"',
        lambda: b'"' + b"a" * (most - 2) + b'"',
        lambda: chance.choice([b"1e999", b"-1e-999", b"NaN", b"Infinity", b"-0", b"1" + b"0" * 308 + b".5", b"0x10"]),
    ]
    return chance.choice(forms)()


def encoded(chance: random.Random, text: str) -> bytes:
    """Return the text in an encoding that JSON does not have, or with what an encoding may bring along."""
    forms: list[Callable[[], bytes]] = [
        lambda: text.encode("utf-16"),
        lambda: text.encode("utf-16-be"),
        lambda: text.encode("utf-32"),
        lambda: text.encode("utf-7"),
        lambda: b"\xef\xbb\xbf" + text.encode(),
        lambda: text.replace("sum", "\u00e9\U0001f600").encode("latin-1", "replace"),
        lambda: text.replace("sum", "\\ud800").encode(),
        lambda: text.replace("sum", "\\u0000").encode(),
        lambda: text.replace("sum", "\x00").encode(),
        lambda: text.replace("sum", "\ud800").encode("utf-8", "surrogatepass"),
        lambda: text.encode() + b"\x00",
        lambda: b"\x1f\x8b" + text.encode(),
    ]
    return chance.choice(forms)()


def calculation(callback_url: str | None, **changes: object) -> dict[str, Any]:
    return {"callback_url": callback_url, "message": [{**ITEM, **changes}]}


def mutated(chance: random.Random, callback_url: str) -> object:
    """Return a request to which something happened."""
    whole: dict[str, Any] = calculation(callback_url)
    match chance.randrange(6):
        case 0:
            return chance.choice(ODD_VALUES)
        case 1:
            whole[chance.choice([*whole, "extra"])] = chance.choice(ODD_VALUES)
        case 2:
            whole["message"] = [{**ITEM, chance.choice([*ITEM, "extra"]): chance.choice(ODD_VALUES)}]
        case 3:
            del whole[chance.choice(list(whole))]
        case 4:
            whole["message"] = [chance.choice([ITEM, *ODD_VALUES]) for _ in range(chance.randrange(50))]
        case _:
            numbers = [1e308, -1e308, 5e-324, 0, -0.0, 1e16, 0.1]
            changes = {"num_1": chance.choice(numbers), "num_2": chance.choice(numbers)}
            rounding = chance.choice([0, 10**9, -(10**9), 400, -400, 2**31, 2**63, 17])
            return calculation(callback_url, **changes, operation=chance.choice("+-*/"), result_rounding=rounding)
    return whole


def spoiled(chance: random.Random, value: bytes) -> bytes:
    """Return the bytes cut, or with others in their place."""
    place = chance.randrange(len(value) + 1)
    return chance.choice(
        [
            value[:place],
            value[:place] + chance.randbytes(1) + value[place + 1 :],
            chance.randbytes(place),
            value * 2,
            b"",
        ]
    )


def padded(body: object, size: int) -> bytes:
    """Return the JSON of `body`, blanks behind it, as `size` bytes."""
    text = json.dumps(body).encode()
    return text + b" " * (size - len(text))
