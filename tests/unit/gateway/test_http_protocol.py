"""What a connection may cost, and how it ends."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from structlog.testing import capture_logs

from callstream.runtime.settings import Settings
from callstream.tasks import load_tasks
from gateway.app import create_app
from gateway.connections import Limits
from gateway.validation import Validator
from tests.support.waiting import eventually
from tests.unit.gateway.conftest import FakePublisher
from tests.unit.gateway.wire import LIMITS, Server, Wire

GET = b"GET /healthcheck HTTP/1.1\r\nhost: a\r\n\r\n"
HALF = b"GET /healthcheck HTTP/1.1\r\nhost: a\r\n"
POST = b"POST /v1/calculation/basic HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n"
# As Java's HttpClient asks for HTTP/2.
UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\nUpgrade: h2c\r\n"
ITEM = {"name": "sum", "num_1": 1, "num_2": 2, "operation": "+", "result_rounding": 0}
BODY = json.dumps({"callback_url": "http://receiver.example/", "message": [ITEM]}).encode()
VALID = POST + b"content-length: %d\r\n\r\n" % len(BODY) + BODY
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)

Serve = Callable[..., Server]


class StuckPublisher(FakePublisher):
    """Stores nothing until it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.may = asyncio.Event()

    async def publish(self, *arguments: Any) -> None:
        await self.may.wait()
        await super().publish(*arguments)


def application(publisher: FakePublisher, validator: Validator) -> FastAPI:
    settings = Settings.model_validate({"gateway": {"body_limit": 200_000}})
    return create_app(settings, load_tasks(), publisher, validator)


@pytest.fixture
async def validator() -> AsyncIterator[Validator]:
    validator = Validator(200_000, 1_000, 5)
    async with validator.running():
        yield validator


@pytest.fixture
def serve(publisher: FakePublisher, validator: Validator) -> Serve:
    def make(limits: Limits = LIMITS, budget: int = 10**6) -> Server:
        return Server(application(publisher, validator), limits, budget)

    return make


@pytest.fixture
def stuck() -> StuckPublisher:
    return StuckPublisher()


async def assert_refused(wire: Wire, status: int) -> dict[str, Any]:
    """Check that the answer is a problem after which the connection closes; return the problem."""
    answer = await wire.answer()
    assert answer.status == status
    assert answer.headers["connection"] == "close"
    assert answer.headers["content-type"] == "application/problem+json"
    assert wire.closes
    problem: dict[str, Any] = json.loads(answer.body)
    assert problem["status"] == status
    return problem


async def healthcheck(serve: Serve) -> bytes:
    return (await serve().connect().say(GET).answer()).body


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


@pytest.mark.parametrize("size", [1_000, 10**6])
@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * 20_000,
        HALF + b"x: " + b"a" * 20_000,
        HALF + b"x" * 20_000,
        HALF + b"x: a\r\n" * 101,
        HALF + b"x: a\r\n" * 101 + b"\r\n",
    ],
)
async def test_a_head_is_limited_in_bytes_and_fields_before_it_is_kept(serve: Serve, head: bytes, size: int) -> None:
    await assert_refused(serve().connect().say(*pieces(head, size)), 431)


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.0\r\nhost: a\r\nHost: a\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/7.0\r\nhost: a\r\n\r\n",
        b"GET http://a HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nhost: a\r\n\r\n",
        b"CONNECT a:443 HTTP/1.1\r\nhost: a\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET / HTTP/1.1\r\nhost : a\r\n\r\n",
        POST + b"transfer-encoding: chunked\r\ncontent-length: 1\r\n\r\n",
        POST + b"transfer-encoding: chunked\r\n\r\nzz\r\n",
        POST + UPGRADE + b"content-length: 1\r\ncontent-length: 2\r\n\r\n",
        POST + UPGRADE + b"transfer-encoding: chunked\r\ncontent-length: 1\r\n\r\n",
        POST + UPGRADE + b"transfer-encoding: chunked\r\n\r\nzz\r\n",
        POST + UPGRADE + b"host: b\r\n\r\n",
        b"CONNECT http://a/ HTTP/1.1\r\nhost: a\r\n\r\n",
        b"CONNECT http://a/ HTTP/1.1\r\nhost: a\r\n" + UPGRADE + b"content-length: 1\r\n\r\n1",
    ],
)
async def test_what_is_no_request_is_a_problem_and_no_traceback(
    serve: Serve, request_: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with capture_logs() as logs:
        await assert_refused(serve().connect().say(request_), 400)
    assert not [line for line in logs if line["log_level"] == "error"]
    assert not caplog.records


@pytest.mark.parametrize(
    "request_",
    [
        GET,
        GET.replace(b"/healthcheck", b"http://a/healthcheck"),
        GET.replace(b"\r\n\r\n", b"\r\n" + UPGRADE + b"\r\n"),
        POST + UPGRADE + b"content-length: %d\r\n\r\n" % len(BODY) + BODY,
        POST + UPGRADE + b"transfer-encoding: chunked\r\n\r\n" + CHUNKED,
        VALID,
    ],
)
async def test_a_connection_outlives_an_answer_to_a_whole_request(serve: Serve, request_: bytes) -> None:
    wire = serve().connect()
    for _ in range(3):
        answer = await wire.say(request_).answer()
        assert answer.status == 200
        assert "connection" not in answer.headers
        assert not wire.closes
        wire.sent = b""


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (POST + b"content-length: 300000\r\n\r\n", 413),
        (POST.replace(b"application/json", b"text/plain") + b"content-length: 9\r\n\r\n", 422),
        (POST + b"content-encoding: gzip\r\ncontent-length: 9\r\n\r\n", 422),
        (POST.replace(b"POST", b"PUT") + b"content-length: 9\r\n\r\n", 405),
        (POST.replace(b"basic", b"basic/") + b"content-length: 9\r\n\r\n", 404),
        (GET.replace(b"\r\n\r\n", b"\r\ncontent-length: 9\r\n\r\n"), 200),
    ],
)
async def test_an_answer_before_the_requests_end_closes_and_what_still_comes_is_dropped(
    serve: Serve, publisher: FakePublisher, head: bytes, status: int
) -> None:
    server = serve()
    wire = server.connect().say(head)
    answer = await wire.answer()
    assert (answer.status, answer.headers["connection"]) == (status, "close")
    wire.say(VALID, VALID)
    assert wire.told_end
    assert not wire.ended, "a client that is still sending would read a reset"
    assert not wire.paused
    assert not publisher.records
    assert server.budget.held == 0


@pytest.mark.parametrize("size", [1, 7, 10**6])
@pytest.mark.parametrize(
    "body", [b"content-length: %d\r\n\r\n" % len(BODY) + BODY, b"transfer-encoding: chunked\r\n\r\n" + CHUNKED]
)
async def test_a_request_that_asks_for_another_protocol_is_answered_in_this_one(
    serve: Serve, publisher: FakePublisher, body: bytes, size: int
) -> None:
    server = serve()
    wire = server.connect().say(*pieces(POST + UPGRADE + body, size))
    assert (await wire.answer()).status == 200
    assert len(publisher.records) == 1
    assert not wire.closes
    await eventually(lambda: server.budget.held == 0)
    wire.sent = b""
    wire.say(GET)
    assert (await wire.answer()).body == await healthcheck(serve)


async def test_a_body_is_no_other_request_where_another_protocol_was_asked_for(
    serve: Serve, publisher: FakePublisher
) -> None:
    """What stands in a body, and what was asked for with it, is this request's alone; what is behind it is not."""
    wire = serve().connect().say(POST + UPGRADE + b"content-length: %d\r\n\r\n" % len(VALID) + VALID)
    assert (await wire.answer()).status == 422
    assert not publisher.records
    wire = serve().connect().say(POST + UPGRADE + b"content-length: %d\r\n\r\n" % len(BODY) + BODY + VALID)
    answer = await wire.answer()
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert len(publisher.records) == 1


async def test_who_asks_for_another_protocol_and_for_the_end_has_one_answer(serve: Serve) -> None:
    wire = (
        serve()
        .connect()
        .say(POST + UPGRADE.replace(b"Upgrade,", b"close, Upgrade,") + b"content-length: %d\r\n\r\n" % len(BODY) + BODY)
    )
    assert (await wire.answer()).status == 200
    assert wire.closes


async def test_who_waits_to_be_told_to_go_on_is_refused_in_silence(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    wire = serve().connect().say(POST + b"expect: 100-continue\r\ntransfer-encoding: chunked\r\n\r\nxx\r\n")
    await assert_refused(wire, 400)
    await eventually(lambda: not wire.protocol.tasks)
    assert b" 100 " not in wire.sent
    assert not caplog.records


async def test_no_slash_is_added_or_taken_by_a_redirect(serve: Serve) -> None:
    answer = await serve().connect().say(VALID.replace(b"/basic ", b"/basic/ ")).answer()
    assert answer.status == 404
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_second_request_before_the_answer_is_not_served_and_the_answer_is_the_last(
    serve: Serve, publisher: FakePublisher
) -> None:
    wire = serve().connect().say(VALID + VALID * 100)
    answer = await wire.answer()
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert wire.closes
    assert len(publisher.records) == 1


async def test_noise_after_a_request_does_not_spoil_its_answer(serve: Serve) -> None:
    wire = serve().connect().say(VALID + b"\x00\x00")
    answer = await wire.answer()
    assert (answer.status, answer.headers["connection"]) == (200, "close")


async def test_a_trailer_is_no_header(serve: Serve, publisher: FakePublisher) -> None:
    chunk = b"%x\r\n%s\r\n0\r\n" % (len(BODY), BODY)
    trailer = b"callback-deadline: 2026-11-24T12:00:00Z\r\n\r\n"
    answer = await serve().connect().say(POST + b"transfer-encoding: chunked\r\n\r\n" + chunk + trailer).answer()
    assert answer.status == 200
    assert "callback_deadline" not in dict(publisher.records[0].headers)


@pytest.mark.parametrize(
    "body", [b"1\r\n \r\n" * 20_000, b"2\r\n{}\r\n0\r\nx: " + b"a" * 50_000, b"1;" + b"a" * 50_000]
)
async def test_what_frames_a_body_is_limited_as_the_body_is(serve: Serve, body: bytes) -> None:
    await assert_refused(serve().connect().say(POST + b"transfer-encoding: chunked\r\n\r\n", body), 400)


async def test_what_does_not_arrive_is_timed_out(serve: Serve) -> None:
    server = serve(LIMITS._replace(arrival=0.05))
    half_head, half_body = server.connect().say(HALF), server.connect().say(VALID[:-1])
    silent = server.connect()
    for wire in (half_head, half_body):
        await assert_refused(wire, 408)
    await silent.end()
    assert not silent.sent, "who says nothing may still be about to send, and would take it for an answer"


async def test_a_connection_that_idles_or_lingers_ends(serve: Serve) -> None:
    server = serve(LIMITS._replace(idle=0.05, closing=0.05))
    idle, lingering = server.connect().say(GET), server.connect().say(b"nonsense\r\n\r\n")
    await idle.end()
    await lingering.end()
    await eventually(lambda: len(server.connections) == 0)


async def test_who_does_not_take_an_answer_is_cut_off(serve: Serve) -> None:
    wire = serve(LIMITS._replace(arrival=0.05)).connect(stuck=True)
    wire.protocol.pause_writing()
    wire.say(GET)
    await wire.end()
    assert wire.aborted


async def test_bytes_beyond_the_budget_are_refused_before_they_are_kept(serve: Serve) -> None:
    server = serve(budget=140_000)
    head = POST + b"content-length: 150000\r\n\r\n"
    first = server.connect().say(head, b" " * 80_000)
    assert 80_000 <= server.budget.held <= 140_000
    second = server.connect().say(head, b" " * 80_000)
    problem = await assert_refused(first, 503)
    assert problem["detail"] == "nothing was stored: too many bytes are under way"
    assert (await first.answer()).headers["retry-after"]
    assert 80_000 <= server.budget.held <= 140_000
    assert (await server.connect().say(VALID).answer()).status == 200, "a small one has room beside large ones"
    second.protocol.connection_lost(None)
    await eventually(lambda: server.budget.held == 0)


async def test_of_large_bodies_that_arrive_at_once_as_many_are_taken_as_there_is_room_for(
    serve: Serve, publisher: FakePublisher
) -> None:
    server = serve(budget=530_000)
    padding = b" " * 150_000
    body = POST + b"content-length: %d\r\n\r\n" % (len(padding) + len(BODY)) + padding + BODY
    wires = [server.connect() for _ in range(5)]
    for part in pieces(body, 15_000):
        for wire in wires:
            wire.say(part)
        await asyncio.sleep(0)
    statuses = [(await wire.answer()).status for wire in wires]
    assert sorted(statuses) == [200, 200, 503, 503, 503]
    assert len(publisher.records) == 2
    await eventually(lambda: server.budget.held == 0)


async def test_who_fills_the_budget_leaves_room_for_another(stuck: StuckPublisher, validator: Validator) -> None:
    server = Server(application(stuck, validator), budget=800_000)
    body = POST + b"content-length: %d\r\n\r\n" % (100_000 + len(BODY)) + b" " * 100_000 + BODY
    filling = [server.connect("192.0.2.1").say(body) for _ in range(10)]
    assert any(b" 503 " in wire.sent for wire in filling)
    other = server.connect("192.0.2.2").say(body)
    stuck.may.set()
    assert (await other.answer()).status == 200


async def test_heads_are_counted_as_well_while_they_wait_for_their_client(serve: Serve) -> None:
    server = serve(budget=100_000)
    half_heads = [server.connect().say(HALF + b"x: " + b"a" * 10_000) for _ in range(6)]
    assert server.budget.held > 60_000
    assert not half_heads[-1].closes
    await assert_refused(half_heads[0], 503)
    assert (await server.connect().say(VALID).answer()).status == 200
    for wire in half_heads[1:]:
        wire.protocol.connection_lost(None)
    assert server.budget.held == 0
    server.connect().say(*[b"\r\n" * 8_000] * 10)
    assert server.budget.held == 0, "of empty lines before a request nothing is kept"


async def test_half_heads_make_room_for_a_whole_request(serve: Serve, publisher: FakePublisher) -> None:
    server = serve(budget=150_000)
    half_heads = [server.connect(f"192.0.2.{number}").say(HALF + b"x: " + b"a" * 8_000) for number in range(20)]
    held = server.budget.held
    body = b" " * 60_000 + BODY
    good = server.connect("198.51.100.1").say(POST + b"content-length: %d\r\n\r\n" % len(body), *pieces(body, 5_000))
    assert (await good.answer()).status == 200
    assert len(publisher.records) == 1
    assert held > 120_000
    await assert_refused(half_heads[-20], 503)
    assert not half_heads[-1].closes, "no more give up than must"


async def test_a_half_head_that_is_refused_holds_nothing_while_its_client_lingers(serve: Serve) -> None:
    server = serve(LIMITS._replace(arrival=0.05))
    wire = server.connect().say(HALF + b"x: " + b"a" * 8_000)
    assert server.budget.held > 8_000
    await assert_refused(wire, 408)
    assert not wire.ended
    assert server.budget.held == 0


async def test_bytes_are_counted_until_the_application_has_done_with_them(
    stuck: StuckPublisher, validator: Validator
) -> None:
    server = Server(application(stuck, validator))
    wire = server.connect().say(VALID)
    await asyncio.sleep(0)
    wire.protocol.connection_lost(None)
    await asyncio.sleep(0)
    assert server.budget.held == len(BODY), "the application holds it, whether the client waits or not"
    stuck.may.set()
    await eventually(lambda: server.budget.held == 0)


async def test_the_end_of_one_request_leaves_the_bytes_of_the_next_counted() -> None:
    """As where a loop reads the next one before it tells that the task of the one before has ended."""
    body = b" " * 10_000

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        if wire.sent:
            while (await receive())["type"] != "http.disconnect":
                pass
            return
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        wire.say(POST + b"content-length: %d\r\n\r\n" % (2 * len(body)), body)

    server = Server(app)
    wire = server.connect().say(VALID)
    (first,) = wire.protocol.tasks
    await eventually(lambda: first not in wire.protocol.tasks)
    assert server.budget.held >= len(body)
    wire.protocol.connection_lost(None)
    await eventually(lambda: server.budget.held == 0)


async def test_for_a_new_connection_the_one_that_waits_longest_for_its_client_goes(
    stuck: StuckPublisher, validator: Validator
) -> None:
    server = Server(application(stuck, validator), LIMITS._replace(connections=4))
    served = server.connect().say(VALID)
    oldest, idle, next_oldest = server.connect().say(HALF), server.connect().say(GET), server.connect().say(HALF)
    await idle.answer()
    new = [server.connect().say(GET) for _ in range(2)]
    assert idle.ended, "first the one that has its answer"
    assert b" 503 " in oldest.sent
    assert not next_oldest.ended
    assert [(await wire.answer()).status for wire in new] == [200, 200]
    for _ in range(3):
        server.connect().say(VALID)
    await assert_refused(server.connect(), 503)
    stuck.may.set()
    assert (await served.answer()).status == 200, "a request that has arrived is not given up"


async def test_one_address_has_no_more_than_its_share_of_connections(serve: Serve) -> None:
    server = serve(LIMITS._replace(client_connections=2))
    for address in ("192.0.2.1", "2001:db8::1", "::ffff:198.51.100.7"):
        for _ in range(2):
            assert not server.connect(address).closes
    for same in ("192.0.2.1", "2001:db8::2:0:1", "198.51.100.7"):
        await assert_refused(server.connect(same).say(GET), 503)
    assert (await server.connect("2001:db8:0:1::1").say(GET).answer()).status == 200


async def test_a_stop_closes_what_has_no_request_and_answers_the_rest(
    stuck: StuckPublisher, validator: Validator
) -> None:
    server = Server(application(stuck, validator))
    idle, busy = server.connect(), server.connect().say(VALID[:-1])
    for wire in (idle, busy):
        wire.protocol.shutdown()
    await idle.end()
    busy.say(VALID[-1:])
    stuck.may.set()
    answer = await busy.answer()
    assert (answer.status, answer.headers["connection"]) == (200, "close")


async def test_a_request_that_is_on_its_way_at_a_stop_is_served_and_the_last_one(serve: Serve) -> None:
    server = serve()
    new, kept, begun = server.connect(), server.connect().say(GET), server.connect().say(HALF)
    await kept.answer()
    kept.sent = b""
    for wire in (new, kept, begun):
        wire.protocol.shutdown()
    for wire, request in ((new, GET), (kept, GET), (begun, GET.removeprefix(HALF))):
        assert not wire.closes
        answer = await wire.say(request).answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert wire.closes
