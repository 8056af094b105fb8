"""What the gateway says of itself: service info and health."""

from fastapi import APIRouter
from pydantic import BaseModel

import callstream
from gateway.problems import ProblemError, problem_responses
from gateway.publisher import Publisher


class ServiceInfo(BaseModel, frozen=True):
    name: str = "Callstream"
    version: str = callstream.__version__
    description: str = "REST in, Kafka through, callback out"


class Index(BaseModel, frozen=True):
    """What the root answers."""

    service_info: ServiceInfo = ServiceInfo()
    docs: str = "/docs"
    redoc: str = "/redoc"
    openapi: str = "/openapi.json"
    asyncapi: str = "/asyncapi"


class State(BaseModel, frozen=True):
    state: str


def about_routes(publisher: Publisher) -> APIRouter:
    router = APIRouter()

    @router.get("/", summary="Service info and where the docs are")
    async def index() -> Index:
        return Index()

    @router.get("/healthcheck", summary="The process answers")
    async def healthcheck() -> State:
        return State(state="healthy")

    @router.get("/health/live", summary="The process makes progress, whatever the broker does")
    async def live() -> State:
        return State(state="live")

    @router.get("/health/ready", summary="Requests can be stored", responses=problem_responses(503))
    async def ready() -> State:
        if (trouble := publisher.trouble) is not None:
            raise ProblemError(503, trouble)
        return State(state="ready")

    return router
