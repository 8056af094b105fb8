"""Java's own client with its defaults, which asks for HTTP/2 with its first request on a connection."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from callstream.runtime.settings import Settings
from callstream.tasks import load_tasks
from gateway.app import create_app
from gateway.validation import Validator
from tests.unit.gateway.conftest import FakePublisher
from tests.unit.gateway.wire import Server

ITEM = {"name": "sum", "num_1": 1, "num_2": 2, "operation": "+", "result_rounding": 0}
BODY = json.dumps({"callback_url": "http://receiver.example/", "message": [ITEM]})
CLIENT = """
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;

public class Client {
    public static void main(String[] arguments) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        HttpRequest.Builder post = HttpRequest.newBuilder(URI.create(arguments[0] + "/v1/calculation/basic"))
            .header("content-type", "application/json")
            .POST(HttpRequest.BodyPublishers.ofString(arguments[1]));
        HttpRequest.Builder get = HttpRequest.newBuilder(URI.create(arguments[0] + "/healthcheck"));
        for (HttpRequest.Builder request : new HttpRequest.Builder[] {post, get, post, get})
            System.out.println(client.send(request.build(), BodyHandlers.ofString()).statusCode());
    }
}
"""


async def test_javas_client_is_answered_with_its_defaults(tmp_path: Path) -> None:
    if (java := shutil.which("java")) is None:
        pytest.skip("java is not installed")
    (tmp_path / "Client.java").write_text(CLIENT)
    publisher, validator = FakePublisher(), Validator(200_000, 1_000, 5)
    async with (
        validator.running(),
        Server(create_app(Settings(), load_tasks(), publisher, validator)).listening() as port,
    ):
        client = await asyncio.create_subprocess_exec(
            *(java, str(tmp_path / "Client.java"), f"http://127.0.0.1:{port}", BODY),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await asyncio.wait_for(client.communicate(), 60)
    assert said.split() == [b"200"] * 4, said.decode()
    assert len(publisher.records) == 2
