"""The contract of the topics, for machines and for people."""

from functools import cache

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response

from callstream.contract.asyncapi import Document, as_yaml, document
from callstream.runtime.settings import Settings
from callstream.runtime.topic_shapes import topic_shapes
from callstream.tasks import Tasks
from gateway.asyncapi_page import page

# The page has styles of its own and nothing else, whatever a task type may write into it.
_POLICY = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}


def asyncapi_routes(settings: Settings, tasks: Tasks) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @cache
    def contract() -> Document:
        return document(tasks.values(), settings.topic_names, topic_shapes(settings, tasks))

    text = cache(lambda: as_yaml(contract()))
    html = cache(lambda: page(contract()))

    @router.get("/asyncapi.yaml")
    def asyncapi_yaml() -> Response:
        return Response(text(), media_type="application/yaml")

    @router.get("/asyncapi")
    def asyncapi_page() -> HTMLResponse:
        return HTMLResponse(html(), headers=_POLICY)

    return router
