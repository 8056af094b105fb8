"""The gateway's FastAPI application."""

from fastapi import FastAPI
from starlette.types import Lifespan

import callstream
from callstream.runtime.settings import Settings
from callstream.tasks import Tasks
from gateway.about import about_routes
from gateway.asyncapi_routes import asyncapi_routes
from gateway.problems import answer_problems
from gateway.publisher import Publisher
from gateway.task_routes import add_task_routes
from gateway.validation import Validator


def create_app(
    settings: Settings,
    tasks: Tasks,
    publisher: Publisher,
    validator: Validator,
    lifespan: Lifespan[FastAPI] | None = None,
) -> FastAPI:
    """Return the application; it stores by `publisher`, which `lifespan` may open and close, as it may `validator`."""
    app = FastAPI(
        title="Callstream",
        version=callstream.__version__,
        description="REST in, Kafka through, callback out: accepted means kept.",
        lifespan=lifespan,
        # To `http://<Host>...`, whatever Host says, and with the body.
        redirect_slashes=False,
    )
    answer_problems(app)
    app.include_router(about_routes(publisher))
    app.include_router(asyncapi_routes(settings, tasks))
    add_task_routes(app, settings, tasks, publisher, validator)
    return app
