"""Errors as answers, and as the answers that the OpenAPI document lists."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Scope

from app.core.errors import (
    BodyTooLarge,
    Forbidden,
    ForebayError,
    InternalError,
    InvalidRequest,
    NotFound,
    RangeNotSatisfiable,
    Unauthenticated,
    Unavailable,
)
from app.protocols.problem import PROBLEM_MEDIA_TYPE, problem_document, problem_type

__all__ = ["Problem", "answers", "install", "problem_response", "request_id_of"]


class Problem(BaseModel):
    """RFC 9457 problem details."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str


class MethodNotAllowed(ForebayError):
    """This address does not take that method."""

    code, status, title = "method-not-allowed", 405, "Method not allowed"


def request_id_of(scope: Scope) -> str:
    """The id under which the log has this request."""
    return str(scope["state"]["request_id"])


def problem_response(scope: Scope, error: ForebayError) -> Response:
    """The answer for an error."""
    scope["state"]["problem"] = error
    status, headers, body = problem_document(error, request_id_of(scope))
    response = Response(body, status_code=status)
    response.raw_headers = list(headers)
    if isinstance(error, Unauthenticated):
        response.headers["www-authenticate"] = 'Bearer realm="forebay"'
    if isinstance(error, RangeNotSatisfiable) and "size" in error.extensions:
        response.headers["content-range"] = f"bytes */{error.extensions['size']}"
    return response


async def _ours(request: Request, exc: Exception) -> Response:
    if not isinstance(exc, ForebayError):
        raise exc
    return problem_response(request.scope, exc)


async def _validation(request: Request, exc: Exception) -> Response:
    if not isinstance(exc, RequestValidationError):
        raise exc
    fields = [
        {"field": ".".join(str(part) for part in item["loc"]), "message": str(item["msg"])} for item in exc.errors()
    ]
    return problem_response(
        request.scope, InvalidRequest("A parameter can't be used; see `errors`.", errors=fields[:20])
    )


async def _http(request: Request, exc: Exception) -> Response:
    if not isinstance(exc, HTTPException):
        raise exc
    known: dict[int, type[ForebayError]] = {404: NotFound, 405: MethodNotAllowed, 413: BodyTooLarge}
    error = known.get(exc.status_code, InvalidRequest if exc.status_code < 500 else InternalError)()  # noqa: PLR2004
    response = problem_response(request.scope, error)
    for name, value in (exc.headers or {}).items():
        response.headers[name] = value
    return response


def install(app: FastAPI) -> None:
    """Answer every error as a problem document."""
    app.add_exception_handler(ForebayError, _ours)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)


def answers(*errors: type[ForebayError]) -> dict[int | str, dict[str, Any]]:
    """`responses=` of a route: what it may answer instead, from the error classes themselves."""
    by_status: dict[int, list[type[ForebayError]]] = {}
    listed: list[type[ForebayError]] = [InvalidRequest, Unauthenticated, Forbidden, Unavailable, InternalError, *errors]
    for error in listed:
        by_status.setdefault(error.status, []).append(error)
    return {
        status: {
            "description": " · ".join(dict.fromkeys(error.title for error in group)),
            "content": {
                PROBLEM_MEDIA_TYPE: {
                    "schema": {"$ref": "#/components/schemas/Problem"},
                    "examples": {
                        error.code: {
                            "summary": error.title,
                            "value": {
                                "type": problem_type(error),
                                "title": error.title,
                                "status": status,
                                "detail": " ".join((error.__doc__ or error.title).split()),
                                "code": error.code,
                                "request_id": "0f8fad5bd9cb469fa16570867728950e",
                            },
                        }
                        for error in group
                    },
                }
            },
        }
        for status, group in sorted(by_status.items())
    }
