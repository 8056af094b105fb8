"""What the gateway says of itself."""

import httpx
import pytest
from starlette.routing import Route

from callstream.runtime.settings import Settings
from callstream.tasks import RegistryError, task
from gateway.app import create_app
from gateway.validation import Validator
from tests.unit.gateway.conftest import FakePublisher

SEED_EXAMPLE = [
    {"name": "calc_0", "num_1": 123, "num_2": 0.75647, "operation": "+", "result_rounding": 2},
    {"name": "calc_1", "num_1": 785687256, "num_2": 0.75647, "operation": "-", "result_rounding": 4},
]


async def test_the_root_leads_to_the_docs(client: httpx.AsyncClient) -> None:
    index = (await client.get("/")).json()
    assert index["service_info"]["name"] == "Callstream"
    for page in ("docs", "redoc", "openapi", "asyncapi"):
        assert (await client.get(index[page])).status_code == 200


async def test_healthy_and_live_say_so_whatever_the_broker_does(
    client: httpx.AsyncClient, publisher: FakePublisher
) -> None:
    publisher.trouble = "the broker does not answer"
    assert (await client.get("/healthcheck")).json() == {"state": "healthy"}
    assert (await client.get("/health/live")).status_code == 200


async def test_ready_is_whether_requests_can_be_stored(client: httpx.AsyncClient, publisher: FakePublisher) -> None:
    assert (await client.get("/health/ready")).status_code == 200
    publisher.trouble = "the broker does not answer"
    answer = await client.get("/health/ready")
    assert (answer.status_code, answer.json()["detail"]) == (503, "the broker does not answer")


def test_every_path_of_the_gateways_own_is_kept_from_tasks(publisher: FakePublisher) -> None:
    app = create_app(Settings(), {}, publisher, Validator(1, 1, 1))
    paths = {route.path for route in app.routes if isinstance(route, Route)} - {"/"}
    assert paths
    for path in paths:
        with pytest.raises(RegistryError, match="is the gateway's own"):
            task("any", path=path.replace("{task_id}", "any"))


async def test_openapi_documents_each_task_with_its_model_and_example(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    for path in ("/v1/calculation/basic", "/v1/data/from-api"):
        operation = document["paths"][path]["post"]
        assert set(operation["responses"]) == {"200", "408", "413", "422", "500", "503"}
        assert list(operation["responses"]["503"]["content"]) == ["application/problem+json"]
        headers = {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "header"}
        assert headers == {"Idempotency-Key", "Callback-Deadline"}
        reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        model = document["components"]["schemas"][reference.rpartition("/")[2]]
        assert set(model["required"]) == {"callback_url", "message"}
    body = document["paths"]["/v1/calculation/basic"]["post"]["requestBody"]["content"]["application/json"]
    assert body["examples"]["calculation"]["value"]["message"] == SEED_EXAMPLE


async def test_a_header_that_may_be_left_out_is_not_said_to_be_null(client: httpx.AsyncClient) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]
    headers = {each["name"]: each for each in paths["/v1/calculation/basic"]["post"]["parameters"]}
    assert headers.keys() == {"Callback-Deadline", "Idempotency-Key"}
    for each in headers.values():
        assert each["required"] is False
        assert each["schema"]["type"] == "string"
        assert "anyOf" not in each["schema"]
