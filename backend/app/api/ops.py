"""For operators: everyone's uploads, the limits in force, cancelling."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel

from app.api.auth import Operator, operator_of, user_of
from app.api.context import Context, Ctx
from app.api.ops_stream import OpsLimits
from app.api.problems import answers
from app.api.uploads import page_of
from app.api.views import UploadView, upload_view
from app.core.errors import DatabaseUnavailable, Forbidden, NotFound, StateConflict, Unauthenticated
from app.core.upload import UploadState
from app.services.live import LiveUpload

__all__ = ["ops_limits", "router"]

router = APIRouter(prefix="/api/v1/ops", tags=["operators"])


class OwnedUpload(UploadView):
    """An upload with its owner."""

    owner: str


class OwnedPage(BaseModel):
    """A page of uploads, newest first."""

    uploads: list[OwnedUpload]
    next: str | None


class LimitsView(BaseModel):
    """Limits in force and the room there is, in bytes."""

    max_uploads: int
    max_users: int
    max_uploads_per_user: int | None
    max_concurrent_chunks: int
    chunk_size: int
    max_file_size: int
    max_memory_percent: float
    staging_total: int
    staging_free: int
    staging_reserved: int


@router.get("/uploads", responses=answers(DatabaseUnavailable))
async def all_uploads(
    *,
    context: Ctx,
    operator: Operator,
    state: Annotated[list[UploadState] | None, Query()] = None,
    owner: Annotated[str | None, Query(max_length=255)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    cursor: Annotated[str | None, Query(max_length=100)] = None,
) -> OwnedPage:
    """Uploads of everyone, those that have ended too."""
    del operator
    found, following = await page_of(context, owner=owner, state=state, limit=limit, cursor=cursor)
    return OwnedPage(uploads=[owned(context, live) for live in found], next=following)


def owned(context: Context, live: LiveUpload) -> OwnedUpload:
    """What an operator sees."""
    return OwnedUpload(**dict(upload_view(context, live)), owner=live.row.owner)


def ops_limits(context: Context) -> OpsLimits:
    """What does not change while the server runs, for the page."""
    settings, pool = context.settings, context.pool.stats
    return OpsLimits(
        max_uploads=settings.upload_limit,
        max_users=settings.max_concurrent_users,
        max_memory_percent=settings.max_memory_percent,
        memory_limit_bytes=context.memory.latest.limit,
        slabs_total=pool.slabs_total,
        slab_bytes=pool.slab_bytes,
        mode=settings.mode,
        version=context.version,
        started_at=round(time.time() - (time.monotonic() - context.started), 3),
    )


@router.get("/limits", responses=answers())
async def limits(context: Ctx, operator: Operator) -> LimitsView:
    """What is allowed, and how much room there is."""
    del operator
    settings, space = context.settings, await context.staging.space()
    return LimitsView(
        max_uploads=settings.upload_limit,
        max_users=settings.max_concurrent_users,
        max_uploads_per_user=settings.max_uploads_per_user,
        max_concurrent_chunks=settings.max_concurrent_chunks,
        chunk_size=settings.chunk_bytes,
        max_file_size=settings.max_file_bytes,
        max_memory_percent=settings.max_memory_percent,
        staging_total=space.total_bytes,
        staging_free=space.free_bytes,
        staging_reserved=space.reserved_bytes,
    )


@router.get("/events", response_class=EventSourceResponse, responses=answers(DatabaseUnavailable))
async def ops_events(context: Ctx, operator: Operator, request: Request) -> AsyncIterator[ServerSentEvent]:
    """Everything that the operations page shows, over one connection.

    `history` and `limits` come once, a `sample` twice a second; `destinations`, `uploads` and `incidents` as they are, and
    then as they change. The data of each is described by the schema of its name: `OpsHistory`, `OpsLimits`, `OpsSample`, `DestinationState`
    (an object of them, by name), `OpsUploads`, `OpsIncidents`.
    """
    del operator
    with context.ops.listen() as listener:
        async for message in listener.messages():
            try:
                await operator_of(await user_of(request, context))
            except (Unauthenticated, Forbidden, DatabaseUnavailable):  # the page comes back, and is told then
                return
            yield ServerSentEvent(event=message.event, raw_data=message.data)


@router.delete(
    "/uploads/{upload_id}",
    status_code=204,
    response_class=Response,
    responses=answers(NotFound, StateConflict, DatabaseUnavailable),
)
async def cancel_any(context: Ctx, operator: Operator, upload_id: str) -> None:
    """Cancel anybody's upload."""
    del operator
    await context.uploads.cancel(await context.uploads.find(upload_id, None))
