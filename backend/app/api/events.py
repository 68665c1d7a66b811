"""Server-Sent Events: progress, state, done."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent

from app.api.auth import User, user_of
from app.api.context import Context, Ctx
from app.api.problems import answers
from app.api.views import progress_view, upload_view
from app.core.errors import DatabaseUnavailable, Forbidden, NotFound, Unauthenticated
from app.core.upload import UploadState
from app.services.events import Subscription
from app.services.live import LiveUpload

__all__ = ["router"]

router = APIRouter(prefix="/api/v1", tags=["events"])

_PAUSE_S = 0.25


async def _mine(context: Ctx, user: User, upload_id: str) -> LiveUpload:
    """Found as a dependency: once the stream has begun, a 404 can't be said any more."""
    return await context.uploads.find(upload_id, user.user)


@router.get("/uploads/{upload_id}/events", response_class=EventSourceResponse, responses=answers(NotFound))
async def upload_events(
    context: Ctx, user: User, request: Request, upload_id: str, live: Annotated[LiveUpload, Depends(_mine)]
) -> AsyncIterator[ServerSentEvent]:
    """What happens to one upload: `progress` and `state` while it lasts, `done` at its end, then the stream ends."""
    with context.hub.subscribe(upload_id=upload_id) as subscription:
        seen: dict[str, UploadState] = {}
        for event in await _events(context, live.row.id, user.user, seen):
            yield event
            if event.event == "done":
                return
        async for event in _follow(context, request, subscription, user.user, seen):
            yield event
            if event.event == "done":
                return


@router.get("/events", response_class=EventSourceResponse, responses=answers())
async def my_events(context: Ctx, user: User, request: Request) -> AsyncIterator[ServerSentEvent]:
    """What happens to all my uploads, over one connection."""
    with context.hub.subscribe(owner=user.user) as subscription:
        seen: dict[str, UploadState] = {}
        for live in context.uploads.live:
            if live.row.owner == user.user:
                for event in await _events(context, live.row.id, user.user, seen):
                    yield event
        async for event in _follow(context, request, subscription, user.user, seen):
            yield event


async def _follow(
    context: Context, request: Request, subscription: Subscription, owner: str, seen: dict[str, UploadState]
) -> AsyncIterator[ServerSentEvent]:
    """What happens from now on, as long as the caller may still see it (a token expires, or is revoked)."""
    async for changed in subscription.changes(pause_s=_PAUSE_S):
        try:
            await user_of(request, context)
            events = [event for upload_id in changed for event in await _events(context, upload_id, owner, seen)]
        except (Unauthenticated, Forbidden, DatabaseUnavailable):  # the client comes back, and is told then
            return
        for event in events:
            yield event


async def _events(context: Context, upload_id: str, owner: str, seen: dict[str, UploadState]) -> list[ServerSentEvent]:
    try:
        live = await context.uploads.find(upload_id, owner)
    except NotFound:  # ended and forgotten meanwhile
        return []
    events = []
    state = live.row.state
    if seen.get(upload_id) is not state:
        seen[upload_id] = state
        events.append(ServerSentEvent(event="state", data={"id": upload_id, "state": state.value}))
    if live.row.ended:
        seen.pop(upload_id)
        events.append(ServerSentEvent(event="done", data=upload_view(context, live).model_dump(mode="json")))
    else:
        events.append(ServerSentEvent(event="progress", data=progress_view(context, live).model_dump(mode="json")))
    return events
