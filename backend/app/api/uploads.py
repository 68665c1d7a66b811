"""Uploads: begin, look, list, complete, cancel."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app.api.auth import User
from app.api.context import Context, Ctx, body_of
from app.api.json_body import json_body, request_schema
from app.api.problems import answers
from app.api.views import LATER, UploadPage, UploadView, upload_view
from app.core.errors import (
    DatabaseUnavailable,
    DigestMismatch,
    FileTooLarge,
    IdempotencyConflict,
    IncompleteUpload,
    InvalidName,
    InvalidRequest,
    LimitReached,
    MemoryPressure,
    NotFound,
    OutOfSpace,
    StateConflict,
    TooManyPending,
    UserQuotaExceeded,
    VerificationPending,
)
from app.core.media_type import MAX_MEDIA_TYPE, MEDIA_TYPE
from app.core.upload import Completion, NameConflictPolicy, UploadState
from app.protocols.digest import parse_digest
from app.services.interruption import abandoned_when_gone
from app.services.live import LiveUpload
from app.services.new_upload import NewUpload

__all__ = ["IdempotencyKey", "checked_key", "page_of", "router"]

router = APIRouter(prefix="/api/v1/uploads", tags=["uploads"])

IdempotencyKey = Annotated[str | None, Header(description="The same key begins the same upload, once.")]
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


class CreateUpload(BaseModel):
    """What is to be uploaded."""

    model_config = ConfigDict(extra="forbid")

    filename: str = Field(min_length=1, max_length=1024)
    size: int = Field(ge=0, le=2**63 - 1, strict=True, description="In bytes.")
    path: str = Field("", max_length=4096, description="Relative folder at the destination.")
    media_type: str = Field("application/octet-stream", max_length=MAX_MEDIA_TYPE, pattern=MEDIA_TYPE)
    digest: str | None = Field(None, max_length=1024, description="Of the whole file, as in Content-Digest (RFC 9530).")
    destination: str = Field("default", max_length=255)
    chunk_size: int | None = Field(None, strict=True, description="In bytes; the server's choice when absent.")
    completion: Completion = Field(
        Completion.AUTO, description="auto: the last chunk finishes the upload; explicit: `complete` does."
    )
    on_conflict: NameConflictPolicy = NameConflictPolicy.RENAME


class CompleteUpload(BaseModel):
    """The client has sent everything."""

    model_config = ConfigDict(extra="forbid")

    digest: str | None = Field(None, max_length=1024, description="Of the whole file, as in Content-Digest (RFC 9530).")


def checked_key(key: str | None) -> str | None:
    """A usable Idempotency-Key.

    Raises:
        InvalidRequest: it is not 1 to 255 visible ASCII characters.
    """
    if key is not None and _KEY.fullmatch(key) is None:
        raise InvalidRequest("An Idempotency-Key has 1 to 255 visible ASCII characters.")
    return key


@router.post(
    "",
    status_code=201,
    openapi_extra=request_schema(CreateUpload),
    responses=answers(
        InvalidName,
        FileTooLarge,
        IdempotencyConflict,
        MemoryPressure,
        LimitReached,
        OutOfSpace,
        TooManyPending,
        UserQuotaExceeded,
        DatabaseUnavailable,
    ),
)
async def create_upload(
    context: Ctx,
    user: User,
    response: Response,
    wanted: Annotated[CreateUpload, Depends(json_body(CreateUpload))],
    idempotency_key: IdempotencyKey = None,
) -> UploadView:
    """Begin an upload: its room is reserved, and the answer says how to cut the file."""
    live = await context.uploads.create(
        user.user,
        NewUpload(
            filename=wanted.filename,
            size=wanted.size,
            folder=wanted.path,
            media_type=wanted.media_type,
            digest=parse_digest(wanted.digest),
            destination=wanted.destination,
            chunk_size=wanted.chunk_size,
            completion=wanted.completion,
            on_conflict=wanted.on_conflict,
        ),
        idempotency_key=checked_key(idempotency_key),
    )
    response.headers["location"] = f"/api/v1/uploads/{live.row.id}"
    return upload_view(context, live)


@router.get("", responses=answers(DatabaseUnavailable))
async def list_uploads(
    context: Ctx,
    user: User,
    state: Annotated[list[UploadState] | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    cursor: Annotated[str | None, Query(max_length=100)] = None,
) -> UploadPage:
    """My uploads, newest first."""
    found, following = await page_of(context, owner=user.user, state=state, limit=limit, cursor=cursor)
    return UploadPage(uploads=[upload_view(context, live) for live in found], next=following)


async def page_of(
    context: Context, *, owner: str | None, state: list[UploadState] | None, limit: int, cursor: str | None
) -> tuple[list[LiveUpload], str | None]:
    """A page of uploads and the next one's cursor; `owner` None: of everyone.

    Raises:
        InvalidRequest: the cursor is not one of ours.
    """
    rows = await context.repository.uploads(
        owner=owner, states=state or None, limit=limit + 1, before=_position(cursor)
    )
    found = [context.uploads.under_way(row.id) or LiveUpload(row) for row in rows[:limit]]
    following = f"{rows[limit - 1].created_at!r}~{rows[limit - 1].id}" if len(rows) > limit else None
    return found, following


def _position(cursor: str | None) -> tuple[float, str] | None:
    if cursor is None:
        return None
    match = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,12})?)~([0-9a-f]{32})", cursor)
    if match is None:
        raise InvalidRequest("The cursor is not one that this server gave.")
    return float(match[1]), match[2]


@router.get("/{upload_id}", responses=answers(NotFound, DatabaseUnavailable, VerificationPending))
async def get_upload(context: Ctx, user: User, upload_id: str) -> UploadView:
    """How far it is, what is missing, and where it went."""
    live = await context.uploads.find(upload_id, user.user)
    await live.settled()
    return upload_view(context, live)


@router.post(
    "/{upload_id}/complete",
    openapi_extra=request_schema(CompleteUpload, required=False),
    responses={
        **LATER,
        **answers(NotFound, IncompleteUpload, StateConflict, DigestMismatch, DatabaseUnavailable),
    },
)
async def complete_upload(
    *,
    context: Ctx,
    user: User,
    request: Request,
    response: Response,
    upload_id: str,
    wanted: Annotated[CompleteUpload, Depends(json_body(CompleteUpload, optional=True))],
) -> UploadView:
    """Everything was sent; answers when the file is at its destination, with 202 where that takes long."""
    declared = parse_digest(wanted.digest)
    live = await context.uploads.find(upload_id, user.user)
    async with abandoned_when_gone(body_of(request)):
        live = await context.uploads.complete(live, declared)
    response.status_code = 200 if live.row.ended else 202
    return upload_view(context, live)


@router.delete(
    "/{upload_id}",
    status_code=204,
    response_class=Response,
    responses=answers(NotFound, StateConflict, DatabaseUnavailable),
)
async def cancel_upload(context: Ctx, user: User, upload_id: str) -> None:
    """Cancel it: nothing of it is kept. A completed upload stays."""
    await context.uploads.cancel(await context.uploads.find(upload_id, user.user))
