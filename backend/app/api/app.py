"""The routes put together."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.openapi.utils import get_openapi
from fastapi_offline import FastAPIOffline

from app.api import chunks, events, files, forms, ops, problems, session, system, uploads
from app.api import resumable as resumable_routes
from app.api import tus as tus_routes
from app.api.middleware import MethodOverride, RequestObserver, Surroundings
from app.api.ops_stream import EVENTS
from app.core.settings import Settings
from app.protocols import resumable, tus

__all__ = ["make_api"]

_DESCRIPTION = """Takes very large files as parallel chunks over bad networks, in a fixed amount of memory, and lands
them whole and verified. Every error is a problem document (RFC 9457) with a stable `code`."""


def make_api(
    *,
    version: str,
    settings: Settings,
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]],
    observe: RequestObserver,
) -> FastAPI:
    """The application, without the services: `lifespan` puts the Context into `app.state.context`."""
    # Its documentation page brings its scripts along: no other site's code in our origin, and none needed from outside.
    app = FastAPIOffline(
        title="Forebay",
        version=version,
        description=_DESCRIPTION,
        lifespan=lifespan,
        redoc_url=None,
        static_url="/docs-assets",
        redirect_slashes=False,  # an address that is not ours is a problem document, not a redirect to what `Host` says
    )
    problems.install(app)
    for room in (uploads, chunks, files, forms, events, system, session, ops):
        app.include_router(room.router)
    app.include_router(tus_routes.router)
    app.add_middleware(MethodOverride, prefix=tus_routes.router.prefix)
    app.include_router(resumable_routes.router)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_credentials=True,
            allow_methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=[
                "authorization",
                "content-type",
                "content-digest",
                "idempotency-key",
                "range",
                *tus.REQUEST_FIELDS,
                *resumable.REQUEST_FIELDS,
            ],
            expose_headers=[
                "etag",
                "location",
                "retry-after",
                "upload-state",
                "x-request-id",
                *tus.EXPOSED_FIELDS,
                *resumable.EXPOSED_FIELDS,
            ],
        )
    app.add_middleware(Surroundings, allowed_hosts=settings.allowed_hosts, observe=observe)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _openapi(app: FastAPI) -> dict[str, Any]:
    """FastAPI's document, with the schemas that are read by hand: problems, and strict JSON bodies."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
            separate_input_output_schemas=False,
        )
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schemas["Problem"] = problems.Problem.model_json_schema()
        for model in EVENTS.values():  # what is streamed is in no answer's schema
            schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas.update(schema.pop("$defs", {}))
            schemas[model.__name__] = schema
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        for path in document["paths"].values():
            for operation in path.values():
                _hoist(operation, schemas)
        app.openapi_schema = document
    return app.openapi_schema


def _hoist(operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    answers = operation.get("responses", {})
    if "HTTPValidationError" in str(answers.get("422", "")):
        del answers["422"]  # parameters that can't be used are a 400 here
    for content in operation.get("requestBody", {}).get("content", {}).values():
        schemas.update(content["schema"].pop("$defs", {}))
