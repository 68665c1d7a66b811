"""The server's own state: the guide's two monitoring endpoints, health, metrics."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field

from app.api.auth import user_of
from app.api.context import Context, Ctx
from app.api.destinations import destination_states
from app.api.problems import answers
from app.api.views import ProgressView, progress_view
from app.core.errors import DatabaseUnavailable, ForebayError, NotFound, ShuttingDown
from app.core.upload import Mode
from app.destinations.port import TakesOver

__all__ = ["router"]

router = APIRouter(tags=["system"])


class ConcurrencyView(BaseModel):
    """Who may receive."""

    active_uploads: int
    max_uploads: int
    active_users: int
    max_users: int
    queued: int
    refused_total: int


class MemoryView(BaseModel):
    """Memory of the container or host; `current_usage` in percent; what can't be measured is null."""

    current_usage: float | None
    limit: int | None
    level: Literal["ok", "high", "error"]
    rss_bytes: int | None
    source: Literal["cgroup", "host"] | None


class PoolView(BaseModel):
    """The buffer pool."""

    slab_bytes: int
    slabs_total: int
    slabs_leased: int
    waiting: int


class ProcessorView(BaseModel):
    """The receiving side, over the last `window_seconds`; `error_rate` from 0 to 1."""

    chunks_in_flight: int
    chunks_per_second: float
    bytes_per_second: float
    error_rate: float
    retries_total: int
    window_seconds: float


class DestinationView(BaseModel):
    """A destination."""

    transferring: int
    waiting: int = Field(description="Uploads whose transfer was held up and is tried again.")
    breaker: Literal["closed", "open"] = Field(description="open: it is left alone for a while.")
    reason: str | None = Field(description="Code of the problem for which it is left alone.")
    report: dict[str, int | bool | None] | None = Field(description="What it says of itself: bytes sent today, room.")


class StatusView(BaseModel):
    """The whole server; names nobody."""

    mode: Mode
    concurrency_manager: ConcurrencyView
    memory_monitor: MemoryView
    buffer_pool: PoolView
    chunk_processor: ProcessorView
    destinations: dict[str, DestinationView]
    version: str
    uptime_seconds: float


async def _open_or_signed_in(request: Request, context: Ctx) -> None:
    if not context.settings.status_open:
        await user_of(request, context)


def _destinations(context: Context) -> dict[str, DestinationView]:
    states = destination_states(context.uploads, context.destinations, context.settings.destination_kinds)
    return {
        name: DestinationView(**state.model_dump(include=set(DestinationView.model_fields)))
        for name, state in states.items()
    }


@router.get("/api/v1/system/upload-status", dependencies=[Depends(_open_or_signed_in)], responses=answers())
async def upload_status(context: Ctx) -> StatusView:
    """How the server is doing."""
    slots, pool, memory, flow = context.slots.stats, context.pool.stats, context.memory.latest, context.throughput
    return StatusView(
        mode=context.uploads.limits.mode,
        concurrency_manager=ConcurrencyView(
            active_uploads=slots.active_uploads,
            max_uploads=slots.max_uploads,
            active_users=slots.active_users,
            max_users=slots.max_users,
            queued=slots.queued,
            refused_total=slots.refused_total,
        ),
        memory_monitor=MemoryView(
            current_usage=None if memory.current_usage is None else round(memory.current_usage, 1),
            limit=memory.limit,
            level=memory.level,
            rss_bytes=memory.rss_bytes,
            source=memory.source,
        ),
        buffer_pool=PoolView(
            slab_bytes=pool.slab_bytes,
            slabs_total=pool.slabs_total,
            slabs_leased=pool.slabs_leased,
            waiting=pool.waiting,
        ),
        chunk_processor=ProcessorView(
            chunks_in_flight=flow.in_flight,
            chunks_per_second=round(flow.chunks.per_second, 3),
            bytes_per_second=round(flow.bytes.per_second, 1),
            error_rate=round(flow.error_rate, 6),
            retries_total=flow.retries_total,
            window_seconds=flow.chunks.window_s,
        ),
        destinations=_destinations(context),
        version=context.version,
        uptime_seconds=round(time.monotonic() - context.started, 1),
    )


@router.get("/api/v1/system/upload-progress/{file_id}", responses=answers(NotFound, DatabaseUnavailable))
async def upload_progress(context: Ctx, file_id: str) -> ProgressView:
    """How far one upload is, for whoever has its id."""
    return progress_view(context, await context.uploads.find(file_id, None))


@router.get("/metrics", dependencies=[Depends(_open_or_signed_in)], response_class=Response, responses=answers())
async def metrics(context: Ctx) -> Response:
    """Prometheus metrics."""
    media_type, body = context.metrics.render()
    return Response(body, media_type=media_type)


@router.head("/healthz", include_in_schema=False)
@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


class ReadyView(BaseModel):
    """Whether uploads can be taken now; per part `ok` or what is wrong."""

    status: Literal["ok"]
    checks: dict[str, str]


class NotReady(ForebayError):
    """Not ready; see `checks`."""

    code, status, title = "not-ready", 503, "Not ready"
    default_retry_after_s = 5


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", responses=answers(NotReady))
async def readyz(context: Ctx) -> ReadyView:
    """Whether new uploads would be taken: database, staging, destinations, memory."""

    async def memory() -> None:
        context.memory.admit()

    async def running() -> None:
        if context.stopping():
            raise ShuttingDown

    probes: dict[str, Callable[[], Awaitable[object]]] = {
        "server": running,
        "database": context.repository.check,
        "staging": context.staging.space,
        "memory": memory,
        # One that is elsewhere is not asked each time, and while it does not answer, uploads are received all the same.
        **{
            f"destination:{name}": destination.check
            for name, destination in context.destinations.items()
            if isinstance(destination, TakesOver)
        },
    }
    checks: dict[str, str] = {}
    for name, probe in probes.items():
        try:
            await probe()
            checks[name] = "ok"
        except ForebayError as exc:
            checks[name] = f"{exc.code}: {exc.title}"
    if any(result != "ok" for result in checks.values()):
        raise NotReady(checks=checks)
    return ReadyView(status="ok", checks=checks)
