"""Uploads as the API shows them."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, Field

from app.api.context import Context
from app.core.upload import Completion, Mode, UploadState
from app.protocols.digest import format_digest
from app.services.live import LiveUpload
from app.services.retries import KEPT, Step

__all__ = ["LATER", "ProgressView", "UploadPage", "UploadView", "progress_view", "upload_view"]

MAX_RANGES = 1000
TRANSFERRED = (
    "At the destination: what it has confirmed, or the connection to it has taken of a request under way. A directory"
    " gets the file whole: 0 until then."
)
UNKNOWN = "Null as long as the client, by a protocol that allows it, has not said the file's size."


class ByteSpan(BaseModel):
    """`[start, end)` in bytes."""

    start: int
    end: int


class ChunkSpan(BaseModel):
    """Chunks `first` to `last`, both included."""

    first: int
    last: int


class ResultView(BaseModel):
    """What the destination holds."""

    destination: str
    id: str
    name: str
    size: int
    digest: str | None


class FailureView(BaseModel):
    """Why it ended badly, or why the transfer waits."""

    code: str
    detail: str


class UploadView(BaseModel):
    """An upload, for its owner."""

    id: str
    filename: str
    path: str
    media_type: str
    size: int | None = Field(description=UNKNOWN)
    state: UploadState
    mode: Mode
    chunk_size: int
    chunk_count: int | None = Field(description=UNKNOWN)
    max_concurrent_chunks: int
    chunk_url: str
    completion: Completion
    destination: str
    bytes_received: int
    bytes_transferred: int = Field(description=TRANSFERRED)
    missing: list[ByteSpan] = Field(
        description="What is still to come; the first 1,000 ranges. None as long as the size is not known."
    )
    missing_chunks: list[ChunkSpan]
    queue_position: int | None
    created_at: datetime
    expires_at: datetime | None
    result: ResultView | None
    error: FailureView | None


LATER: dict[int | str, dict[str, Any]] = {
    202: {
        "description": "All bytes are kept; the destination takes its time. The upload goes on by itself: ask for it later.",
        "model": UploadView,
    }
}


class UploadPage(BaseModel):
    """A page of uploads, newest first."""

    uploads: list[UploadView]
    next: str | None


class FailedAttemptView(BaseModel):
    """An attempt that failed; whether another followed, the others tell."""

    at: datetime
    step: Step
    chunk: int | None = Field(description="null: it was not about one chunk.")
    attempt: int = Field(description="In a row, from 1.")
    code: str


class ProgressView(BaseModel):
    """Progress for whoever has the id; names nobody."""

    file_id: str
    state: UploadState
    mode: Mode
    total_bytes: int | None = Field(description=UNKNOWN)
    bytes_received: int
    bytes_transferred: int = Field(description=TRANSFERRED)
    progress_percent: float
    total_chunks: int | None = Field(description=UNKNOWN)
    completed_chunks: int
    failed_chunks: int
    retried_chunks: int = Field(description="Attempts that had to be repeated: chunks, writes to staging, transfers.")
    failed_attempts: list[FailedAttemptView] = Field(
        description=f"The last {KEPT} attempts that failed, oldest first; also after the end."
    )
    in_flight_chunks: int
    missing: list[ByteSpan]
    elapsed_seconds: float
    bytes_per_second: float
    chunks_per_second: float
    window_seconds: float
    estimated_seconds_remaining: float | None


def _when(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _missing_chunks(live: LiveUpload) -> list[ChunkSpan]:
    size = live.row.chunk_size
    spans: list[ChunkSpan] = []
    for start, end in live.missing(MAX_RANGES):
        first, last = start // size, (end - 1) // size
        if spans and first <= spans[-1].last + 1:
            spans[-1].last = last
        else:
            spans.append(ChunkSpan(first=first, last=last))
    return spans


def _missing(live: LiveUpload) -> list[ByteSpan]:
    if live.row.state is UploadState.COMPLETED:
        return []
    return [ByteSpan(start=start, end=end) for start, end in live.missing(MAX_RANGES)]


def _failure(live: LiveUpload) -> FailureView | None:
    row = live.row
    if row.error_code is not None:
        return FailureView(code=row.error_code, detail=row.error_detail or "")
    if live.problem is not None:
        return FailureView(code=live.problem.code, detail=live.problem.detail)
    return None


def upload_view(context: Context, live: LiveUpload) -> UploadView:
    """What its owner sees."""
    row = live.row
    limits = context.uploads.limits
    result = None
    if row.stored_id is not None and row.stored_name is not None:
        result = ResultView(
            destination=row.destination,
            id=row.stored_id,
            name=row.stored_name,
            size=row.size,
            digest=format_digest(row.sha256, row.crc32c),
        )
    expires_in_s = row.expires_in_s(limits.expiry_s, context.clock())
    return UploadView(
        id=row.id,
        filename=row.filename,
        path=row.folder,
        media_type=row.media_type,
        size=row.known_size,
        state=row.state,
        mode=limits.mode,
        chunk_size=row.chunk_size,
        chunk_count=None if row.length_deferred else row.grid.count,
        max_concurrent_chunks=limits.lanes_of(row.chunk_size),
        chunk_url=f"/api/v1/uploads/{row.id}/chunks/{{n}}",
        completion=row.completion,
        destination=row.destination,
        bytes_received=live.bytes_received,
        bytes_transferred=live.bytes_transferred,
        missing=_missing(live),
        missing_chunks=[] if row.state is UploadState.COMPLETED else _missing_chunks(live),
        queue_position=context.slots.queue_position(row.id),
        created_at=_when(row.created_at),
        expires_at=None if expires_in_s is None else _when(time.time() + expires_in_s),
        result=result,
        error=_failure(live),
    )


def progress_view(context: Context, live: LiveUpload) -> ProgressView:
    """What anybody with the id sees. `progress_percent` is of what is at the destination: 100 only when completed."""
    row = live.row
    done = row.state is UploadState.COMPLETED
    transferred = live.bytes_transferred
    size = row.known_size
    percent = 100.0 if done else min(99.9, 100.0 * transferred / size if size else 0.0)
    rate = live.bytes_rate.per_second
    if row.ended and row.ended_at is not None:
        elapsed, left = max(0.0, row.ended_at - row.created_at), 0.0 if done else None
    else:
        elapsed = max(0.0, time.time() - row.created_at)
        left = (size - min(live.recorded.total, transferred)) / rate if rate > 0 and size is not None else None
    return ProgressView(
        file_id=row.id,
        state=row.state,
        mode=context.uploads.limits.mode,
        total_bytes=size,
        bytes_received=live.bytes_received,
        bytes_transferred=transferred,
        progress_percent=round(percent, 1),
        total_chunks=None if size is None else row.grid.count,
        completed_chunks=row.grid.count if done else live.completed_chunks(),
        failed_chunks=len(live.failed_chunks),
        retried_chunks=live.retries.total,
        failed_attempts=[
            FailedAttemptView(at=_when(each.at), step=each.step, chunk=each.chunk, attempt=each.attempt, code=each.code)
            for each in live.retries.last
        ],
        in_flight_chunks=len(live.receivers),
        missing=_missing(live),
        elapsed_seconds=round(elapsed, 3),
        bytes_per_second=round(rate, 1),
        chunks_per_second=round(live.chunk_rate.per_second, 3),
        window_seconds=live.bytes_rate.window_s,
        estimated_seconds_remaining=None if left is None else round(left, 1),
    )
