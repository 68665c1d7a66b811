"""JSON request bodies, read strictly: bounded, valid UTF-8, no NaN or infinities, no duplicate names, no lone surrogates.

The standard parsers accept these or fail on them later (RFC 8259 sections 4, 6, 8.2 leave them to the receiver).
"""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from app.core.errors import BodyTooLarge, InvalidRequest

__all__ = ["json_body", "request_schema"]

MAX_JSON_BYTES = 64 * 1024

Model = TypeVar("Model", bound=BaseModel)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise InvalidRequest("The JSON has a name twice.")
    return members


def _no_constant(name: str) -> NoReturn:
    raise InvalidRequest(f"{name} is not JSON.")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise InvalidRequest("A number is too large.")
    return value


def _bounded_int(text: str) -> int:
    if len(text) > 20:  # noqa: PLR2004 - more digits than 2^63 has
        raise InvalidRequest("A number is too large.")
    return int(text)


def parse_json(raw: bytes) -> Any:  # noqa: ANN401 - any JSON value
    """Parse strictly.

    Raises:
        InvalidRequest: it is not JSON as we take it.
    """
    try:
        value = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_bounded_int,
        )
        json.dumps(value, ensure_ascii=False).encode("utf-8")  # refuses lone surrogates
    except UnicodeError as exc:
        raise InvalidRequest("The JSON is not valid UTF-8, or has a lone surrogate.") from exc
    except RecursionError as exc:
        raise InvalidRequest("The JSON is nested too deeply.") from exc
    except ValueError as exc:
        raise InvalidRequest("The body is not JSON.") from exc
    return value


def json_body(model: type[Model], *, optional: bool = False) -> Callable[[Request], Awaitable[Model]]:
    """A dependency that reads the body as `model`; with `optional`, an empty body is an empty object.

    Raises:
        InvalidRequest: it can't be used; `errors` names the fields.
        BodyTooLarge: more than a JSON body may have.
    """

    async def read(request: Request) -> Model:
        raw = bytearray()
        async for piece in request.stream():
            raw += piece
            if len(raw) > MAX_JSON_BYTES:
                raise BodyTooLarge(limit=MAX_JSON_BYTES)
        value = {} if optional and not raw else parse_json(bytes(raw))
        try:
            return model.model_validate(value)
        except ValidationError as exc:
            fields = [
                {"field": ".".join(str(part) for part in item["loc"]), "message": item["msg"]} for item in exc.errors()
            ]
            raise InvalidRequest("A field can't be used; see `errors`.", errors=fields[:20]) from exc

    return read


def request_schema(model: type[BaseModel], *, required: bool = True) -> dict[str, Any]:
    """`openapi_extra=` for a route whose body `json_body(model)` reads."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}}
