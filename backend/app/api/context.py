"""What a request can reach: the services that the composition root built."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from app.api.ops_feed import OpsFeed
from app.core.body import BODY_EXTENSION, RequestBody
from app.core.errors import InvalidRequest
from app.core.settings import Settings
from app.destinations.port import Destination
from app.observability.metrics import Metrics
from app.persistence.repository import Repository
from app.services.appender import Appender
from app.services.chunk_buffer_pool import ChunkBufferPool
from app.services.concatenation import Concatenation
from app.services.events import EventHub
from app.services.forms import Forms
from app.services.identity import Identity
from app.services.memory_monitor import MemoryMonitor
from app.services.parallel_chunk_processor import ParallelChunkProcessor
from app.services.progress import Throughput
from app.services.service_clock import ServiceClock
from app.services.small_files import SmallFiles
from app.services.upload_concurrency_manager import UploadConcurrencyManager
from app.services.uploads import Uploads
from app.services.whole_files import WholeFiles
from app.staging.port import Staging

__all__ = ["Context", "Ctx", "body_of", "whole_address"]


@dataclass(frozen=True, slots=True)
class Context:
    """Built once per application."""

    settings: Settings
    version: str
    started: float
    repository: Repository
    staging: Staging
    destinations: Mapping[str, Destination]
    pool: ChunkBufferPool
    memory: MemoryMonitor
    slots: UploadConcurrencyManager
    throughput: Throughput
    uploads: Uploads
    processor: ParallelChunkProcessor
    appender: Appender
    concatenation: Concatenation
    small_files: SmallFiles
    whole_files: WholeFiles
    forms: Forms
    identity: Identity
    hub: EventHub
    ops: OpsFeed
    clock: ServiceClock
    metrics: Metrics
    stopping: Callable[[], bool]


async def _context(request: Request) -> Context:  # not `def`: FastAPI would run it in a thread
    context: Context = request.app.state.context
    return context


def whole_address(request: Request, context: Context, path: str) -> str:
    """A `Location` with its origin, since clients differ in what a relative one is relative to (aiotus: what it posted to)."""
    return (context.settings.public_url or str(request.base_url)).rstrip("/") + path


def body_of(request: Request) -> RequestBody:
    """The request's body, unread.

    Raises:
        InvalidRequest: it comes in a content coding; what was not decoded would be stored as something else.
    """
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise InvalidRequest("Bodies are stored as they come. Send them without Content-Encoding.")
    body: RequestBody = request.scope["extensions"][BODY_EXTENSION]
    return body


Ctx = Annotated[Context, Depends(_context)]
