"""A request that comes again under its key is the same task, and is stored once by a gateway that remembers it."""

import asyncio
import json
from uuid import UUID

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callstream.contract.ids import keyed_task_id
from gateway.idempotency import Keys, OtherBodyError
from gateway.publisher import OutcomeUnknownError, RefusedError, TooLargeError
from tests.unit.gateway.conftest import FakePublisher

PATH = "/v1/calculation/basic"
ITEM = {"name": "sum", "num_1": 1, "num_2": 2, "operation": "+", "result_rounding": 0}
BODY = json.dumps({"callback_url": "http://receiver.example/", "message": [ITEM]}).encode()
UNKNOWN = OutcomeUnknownError("no acknowledgement in time")
TTL = 100.0
VISIBLE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=255)


async def post(client: httpx.AsyncClient, *keys: str | bytes, body: bytes = BODY, path: str = PATH) -> httpx.Response:
    named = [(b"idempotency-key", key.encode() if isinstance(key, str) else key) for key in keys]
    return await client.post(path, content=body, headers=[(b"content-type", b"application/json"), *named])


async def test_the_same_key_is_answered_the_same_and_stored_once(
    client: httpx.AsyncClient, publisher: FakePublisher
) -> None:
    first, second = [await post(client, "k-1") for _ in range(2)]
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.json() == second.json()
    assert UUID(first.json()["task_id"]).version == 5
    assert [record.key for record in publisher.records] == [first.json()["task_id"].encode()]


async def test_other_keys_and_no_keys_are_other_tasks(client: httpx.AsyncClient, publisher: FakePublisher) -> None:
    answers = [await post(client, *keys) for keys in (["a"], ["A"], ['"a"'], [], [])]
    assert len({answer.json()["task_id"] for answer in answers}) == 5
    assert len(publisher.records) == 5


async def test_another_body_under_the_same_key_is_refused_naming_the_header(
    client: httpx.AsyncClient, publisher: FakePublisher
) -> None:
    await post(client, "k-1")
    assert_refused(await post(client, "k-1", body=BODY + b" "))
    assert len(publisher.records) == 1


@pytest.mark.parametrize("keys", [[""], ["a b"], ["a" * 256], ["é"], [b"\xff"], ["a", "a"]])
async def test_a_key_that_is_none_is_refused_naming_the_header(
    client: httpx.AsyncClient, publisher: FakePublisher, keys: list[str | bytes]
) -> None:
    assert_refused(await post(client, *keys))
    assert not publisher.records


def assert_refused(answer: httpx.Response) -> None:
    assert answer.status_code == 422
    assert [detail["loc"] for detail in answer.json()["detail"]] == [["header", "idempotency-key"]]


async def test_an_invalid_body_does_not_use_its_key_up(client: httpx.AsyncClient) -> None:
    assert (await post(client, "k-1", body=b"{}")).status_code == 422
    assert (await post(client, "k-1")).status_code == 200


@pytest.mark.parametrize(
    ("error", "status"), [(UNKNOWN, 500), (RefusedError("away", 5), 503), (RuntimeError("a bug"), 500)]
)
async def test_what_may_not_be_stored_is_stored_by_the_retry_under_the_same_id(
    client: httpx.AsyncClient, publisher: FakePublisher, error: Exception, status: int
) -> None:
    publisher.error = error
    assert (await post(client, "k-1")).status_code == status
    publisher.error = None
    assert (await post(client, "k-1")).status_code == 200
    (record,) = publisher.records
    assert record.key == keyed_task_id(PATH, "k-1").encode()


async def test_openapi_documents_the_header(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    parameters = document["paths"][PATH]["post"]["parameters"]
    (parameter,) = (each for each in parameters if each["name"] == "Idempotency-Key")
    assert (parameter["in"], parameter["required"]) == ("header", False)


class Store:
    """Stores, or raises `error`; `wait()` lets every store wait until `go_on()`."""

    def __init__(self) -> None:
        self.stored = 0
        self.begun = 0
        self.error: Exception | None = None
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self) -> None:
        self.begun += 1
        await self.open.wait()
        if self.error is not None:
            raise self.error
        self.stored += 1


class Gateway:
    """Keys with a clock and a store of the test's own."""

    def __init__(self, most: int = 100) -> None:
        self.now = 0.0
        self.keys = Keys(TTL, lambda: self.now, most)
        self.store = Store()

    async def take(self, key: str = "k", body: bytes = b"{}", seconds: float = 60) -> bool:
        by = asyncio.get_running_loop().time() + seconds
        return await self.keys.store_once(key, body, self.store, by)


@pytest.mark.parametrize("error", [None, UNKNOWN, RefusedError("away", 5), TooLargeError("too large")])
async def test_a_second_request_waits_for_the_outcome_of_the_first(error: Exception | None) -> None:
    gateway = Gateway()
    gateway.store.open.clear()
    gateway.store.error = error
    running = [asyncio.create_task(gateway.take()) for _ in range(3)]
    await asyncio.wait(running, timeout=0.01)
    assert gateway.store.begun == 1
    gateway.store.open.set()
    outcomes = await asyncio.gather(*running, return_exceptions=True)
    assert outcomes == ([True, False, False] if error is None else [error] * 3)


async def test_another_body_is_refused_while_the_first_is_under_way_too() -> None:
    gateway = Gateway()
    gateway.store.open.clear()
    first = asyncio.create_task(gateway.take())
    await asyncio.wait([first], timeout=0.01)
    with pytest.raises(OtherBodyError):
        await gateway.take(body=b"[]")
    gateway.store.open.set()
    assert await first


async def test_a_second_request_waits_no_longer_than_its_own_time() -> None:
    gateway = Gateway()
    gateway.store.open.clear()
    first = asyncio.create_task(gateway.take())
    await asyncio.wait([first], timeout=0.01)
    with pytest.raises(OutcomeUnknownError):
        await gateway.take(seconds=0.01)
    gateway.store.open.set()
    assert await first


async def test_a_first_request_that_is_cut_off_leaves_the_second_with_an_unknown_outcome() -> None:
    gateway = Gateway()
    gateway.store.open.clear()
    first, second = [asyncio.create_task(gateway.take()) for _ in range(2)]
    await asyncio.wait([first, second], timeout=0.01)
    first.cancel()
    with pytest.raises(OutcomeUnknownError):
        await second
    gateway.store.open.set()
    assert await gateway.take()


@pytest.mark.parametrize(
    ("errors", "taken"),
    [([UNKNOWN], False), ([RefusedError("away", 5)], True), ([UNKNOWN, RefusedError("away", 5)], False)],
)
async def test_another_body_may_come_only_where_the_first_was_surely_not_stored(
    errors: list[Exception],
    taken: bool,  # noqa: FBT001 - drawn
) -> None:
    gateway = Gateway()
    for gateway.store.error in errors:
        with pytest.raises(type(gateway.store.error)):
            await gateway.take()
    gateway.store.error = None
    if taken:
        assert await gateway.take(body=b"[]")
    else:
        with pytest.raises(OtherBodyError):
            await gateway.take(body=b"[]")


async def test_a_key_is_forgotten_when_its_time_is_over() -> None:
    gateway = Gateway()
    assert await gateway.take()
    gateway.now = TTL - 1
    assert not await gateway.take()
    gateway.now = TTL
    assert await gateway.take(body=b"[]")


@given(used=st.lists(st.sampled_from("abcdef")), most=st.integers(1, 4))
def test_no_more_keys_are_kept_than_allowed_and_those_are_the_last_used(used: list[str], most: int) -> None:
    async def use() -> None:
        gateway = Gateway(most)
        for number, key in enumerate(used):
            known = set(list(dict.fromkeys(reversed(used[:number])))[:most])
            assert await gateway.take(key) is (key not in known)
        assert len(gateway.keys._entries) <= most

    asyncio.run(use())


@given(keys=st.tuples(VISIBLE, VISIBLE), paths=st.tuples(st.sampled_from(["/a", "/b"]), st.sampled_from(["/a", "/b"])))
def test_a_task_id_is_a_function_of_path_and_key(keys: tuple[str, str], paths: tuple[str, str]) -> None:
    one, other = (keyed_task_id(path, key) for path, key in zip(paths, keys, strict=True))
    assert (one == other) is (keys[0] == keys[1] and paths[0] == paths[1])
