"""The contract of the topics, as the gateway serves it."""

import re
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest
import yaml

from gateway.asyncapi_page import page

HOSTILE = "<script>alert('&\")</script>"
ELEMENTS = {"meta", "section", "nav", "details", "pre", "table"}


class Elements(HTMLParser):
    """Collects what a page is made of and what it would load."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.loads: list[str] = []
        self.links: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.links.update(value or "" for name, value in attrs if name == "href")
        self.loads.extend(name for name, _ in attrs if name == "src" or name.startswith("on"))


def spoiled(part: Any) -> Any:
    """Return the document with every text hostile that leads nowhere, and every name of a property."""
    match part:
        case {"properties": dict(properties), **others}:
            named = {HOSTILE + name: spoiled(inner) for name, inner in properties.items()}
            return {**spoiled(others), "properties": named}
        case dict():
            return {name: inner if name in {"$ref", "action"} else spoiled(inner) for name, inner in part.items()}
        case list():
            return [spoiled(inner) for inner in part]
        case str():
            return HOSTILE
    return part


async def test_the_gateway_serves_the_document_as_yaml(client: httpx.AsyncClient) -> None:
    answer = await client.get("/asyncapi.yaml")
    assert answer.headers["content-type"].startswith("application/yaml")
    document = yaml.safe_load(answer.text)
    assert document["asyncapi"] == "3.0.0"
    assert "calculation.requests" in document["channels"]


async def test_the_page_shows_every_topic_and_loads_nothing(client: httpx.AsyncClient) -> None:
    document = yaml.safe_load((await client.get("/asyncapi.yaml")).text)
    answer = await client.get("/asyncapi")
    elements = Elements(answer.text)
    assert elements.names >= ELEMENTS
    assert elements.loads == []
    assert elements.names.isdisjoint({"script", "link", "img", "iframe", "object"})
    assert elements.links == {"asyncapi.yaml", "docs", *(f"#{name}" for name in document["channels"])}
    assert not re.search(r"@import|url\(", answer.text)
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    for text in ("callback_deadline", "dead_letter_reason", "num_1", "retention.ms"):
        assert text in answer.text


async def test_the_page_escapes_whatever_a_task_type_says(client: httpx.AsyncClient) -> None:
    document = yaml.safe_load((await client.get("/asyncapi.yaml")).text)
    html = page(spoiled(document))
    assert "script" not in Elements(html).names
    assert html.count("&lt;script&gt;") > 100


@pytest.mark.parametrize("path", ["/asyncapi", "/asyncapi.yaml"])
async def test_openapi_is_about_the_service_and_not_about_its_docs(client: httpx.AsyncClient, path: str) -> None:
    assert path not in (await client.get("/openapi.json")).json()["paths"]
