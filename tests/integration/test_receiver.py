"""`callstream receiver` on a real socket: what only a connection shows, and how it ends."""

import asyncio
import re
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from pydantic import SecretStr

from callstream.contract.signature import Signer
from tests.conftest import StartService
from tests.support.processes import Service, run_to_end
from tests.support.secrets import FOREIGN, NEW, OLD
from tests.support.waiting import eventually, free_port


class Receiver:
    """The receiver as a process, and a client of it."""

    def __init__(self, start_service: StartService, *options: str, env: dict[str, str] | None = None) -> None:
        port = free_port()
        self.service: Service = start_service("receiver", "--port", str(port), *options, env=env)
        self.client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10, trust_env=False)

    async def behave(self, **orders: Any) -> None:
        (await self.client.post("/behave", json=orders)).raise_for_status()

    async def call_back(self, task_id: str) -> int:
        return (await self.client.post("/test-me", json={"task_id": task_id})).status_code

    async def has(self, task_id: str) -> bool:
        return (await self.client.get(f"/received/{task_id}")).status_code == 200


@pytest.fixture
async def receiver(start_service: StartService) -> AsyncIterator[Receiver]:
    receiver = Receiver(start_service)
    await receiver.service.wait_until_ready()
    async with receiver.client:
        yield receiver


async def test_a_callback_is_printed_and_told(receiver: Receiver) -> None:
    assert await receiver.call_back("t-1") == 200
    assert await receiver.has("t-1")
    assert '"task_id": "t-1"' in receiver.service.read_log()


async def test_it_drops_the_connection_without_an_answer_as_often_as_told(receiver: Receiver) -> None:
    await receiver.behave(drop=True, times=1)
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        await receiver.call_back("dropped")
    assert await receiver.has("dropped")
    assert await receiver.call_back("next") == 200
    assert "Traceback" not in receiver.service.read_log()


async def test_it_waits_before_it_answers(receiver: Receiver) -> None:
    await receiver.behave(wait=0.3, status=503)
    started = asyncio.get_running_loop().time()
    assert await receiver.call_back("slow") == 503
    assert asyncio.get_running_loop().time() - started >= 0.3


async def test_a_call_that_hangs_holds_nobody_up_and_ends_with_its_caller(receiver: Receiver) -> None:
    await receiver.behave(hang=True, times=1)
    hanging = asyncio.create_task(receiver.call_back("hanging"))
    await eventually(lambda: receiver.has("hanging"))
    assert await receiver.call_back("next") == 200
    assert not hanging.done()
    hanging.cancel()
    with suppress(asyncio.CancelledError):
        await hanging
    await eventually(lambda: connections(receiver.service) <= 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_ends_well_and_promptly_while_a_call_hangs(receiver: Receiver, number: signal.Signals) -> None:
    await receiver.behave(hang=True)
    hanging = asyncio.create_task(receiver.call_back("hanging"))
    await eventually(lambda: receiver.has("hanging"))
    psutil.Process(receiver.service.pid).send_signal(number)
    assert await receiver.service.wait(deadline=3) == 0
    with pytest.raises(httpx.RemoteProtocolError):
        await hanging
    log = receiver.service.read_log()
    assert "receiver.stopped" in log
    assert "Traceback" not in log


async def test_a_caller_that_hangs_up_halfway_leaves_no_trace(receiver: Receiver) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", receiver.client.base_url.port)
    writer.write(b"POST /test-me HTTP/1.1\r\nhost: receiver\r\ncontent-length: 100\r\n\r\n{")
    await writer.drain()
    await eventually(lambda: connections(receiver.service) == 1)
    writer.close()
    await eventually(lambda: connections(receiver.service) == 0)
    assert (await receiver.client.get("/received")).json() == []
    assert "Traceback" not in receiver.service.read_log()


@pytest.mark.parametrize(
    ("options", "env"),
    [
        ((), {"RECEIVER_SECRETS": f"{NEW}, {OLD}"}),
        (("--secret", NEW, "--secret", OLD), {}),
        (("--secret", f"{NEW},{OLD}"), {"RECEIVER_SECRETS": FOREIGN}),
    ],
    ids=["environment", "repeated", "option before environment"],
)
async def test_it_verifies_with_the_secrets_that_it_is_given(
    start_service: StartService, options: tuple[str, ...], env: dict[str, str]
) -> None:
    receiver = Receiver(start_service, *options, env=env)
    await receiver.service.wait_until_ready()
    async with receiver.client as client:
        for secret, status in ((NEW, 200), (OLD, 200), (FOREIGN, 401)):
            headers = Signer([SecretStr(secret)], []).headers("t-1", "http://receiver/", datetime.now(UTC), b"{}")
            assert (await client.post("/test-me", content=b"{}", headers=headers)).status_code == status
    shown = receiver.service.read_log()
    assert shown.count("signature verified") == 2
    assert shown.count("signature WRONG") == 1


@pytest.mark.parametrize(
    ("secrets", "why"), [(f"{NEW},hunter2", "secret 2 is not whsec_ and base64"), (" , ", "there is no secret in it")]
)
async def test_a_secret_that_cannot_be_used_is_one_line_without_it(tmp_path: Path, secrets: str, why: str) -> None:
    env = {"RECEIVER_SECRETS": secrets}
    exit_code, output = await run_to_end("receiver", "--port", str(free_port()), env=env, directory=tmp_path)
    assert (exit_code, output) == (2, f"RECEIVER_SECRETS or --secret: {why}\n")


async def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        exit_code, output = await run_to_end("receiver", "--port", str(port), directory=tmp_path)
    assert exit_code == 2
    assert re.fullmatch(rf"cannot listen on 127\.0\.0\.1:{port}: .+; choose another --host or --port\n", output), output


def connections(service: Service) -> int:
    sockets = psutil.Process(service.pid).net_connections("tcp")
    return sum(connection.status == psutil.CONN_ESTABLISHED for connection in sockets)
