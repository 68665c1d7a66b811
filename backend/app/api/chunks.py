"""Chunks: the bytes."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from pydantic import BeforeValidator

from app.api.auth import User
from app.api.context import Ctx, body_of
from app.api.late import Late
from app.api.problems import answers
from app.core.errors import (
    ChunkConflict,
    ChunkFailed,
    ChunkOutOfOrder,
    ChunkOutOfRange,
    ChunkShort,
    ChunkTooLong,
    DatabaseUnavailable,
    DestinationUnavailable,
    DigestMismatch,
    InvalidDigest,
    LimitReached,
    ModeChanged,
    NotFound,
    OutOfSpace,
    PoolExhausted,
    RequestTimedOut,
    RoomLost,
    ShuttingDown,
    StagingUnavailable,
    StateConflict,
    Superseded,
)
from app.protocols.digest import parse_digest_lines

__all__ = ["BINARY_BODY", "router"]

router = APIRouter(prefix="/api/v1/uploads", tags=["uploads"])

BINARY_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


def _decimal(text: object) -> object:
    """Digits only: `+1`, ` 1`, `1.0` and `1_0` are numbers to Python and mistakes here."""
    if isinstance(text, str) and re.fullmatch("-?[0-9]+", text) is None:
        raise ValueError("should be a decimal number")
    return text


@router.put(
    "/{upload_id}/chunks/{number}",
    status_code=204,
    response_class=Response,
    openapi_extra=BINARY_BODY,
    responses=answers(
        ChunkOutOfRange,
        ChunkShort,
        InvalidDigest,
        NotFound,
        RequestTimedOut,
        StateConflict,
        ChunkConflict,
        ChunkOutOfOrder,
        ModeChanged,
        Superseded,
        ChunkTooLong,
        DigestMismatch,
        LimitReached,
        ChunkFailed,
        StagingUnavailable,
        RoomLost,
        DestinationUnavailable,
        DatabaseUnavailable,
        PoolExhausted,
        ShuttingDown,
        OutOfSpace,
    ),
)
async def put_chunk(
    *,
    context: Ctx,
    user: User,
    request: Request,
    upload_id: str,
    number: Annotated[int, BeforeValidator(_decimal)],
    content_digest: Annotated[
        list[str] | None, Header(description="Of this chunk (RFC 9530): sha-256, crc32c.")
    ] = None,
) -> Response:
    """Send chunk `number` (from 0, at `number * chunk_size`); any order, again if in doubt."""
    declared = parse_digest_lines(content_digest)
    live = await context.uploads.find(upload_id, user.user)
    body = body_of(request)

    async def answer() -> Response:
        crc = await context.processor.receive(live, number, body, declared)
        return Response(status_code=204, headers={"etag": f'"crc32c-{crc:08x}"', "upload-state": live.row.state.value})

    return Late(answer)
