"""What is staged becomes recorded: in the database first, then in the process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from app.core.errors import DatabaseUnavailable
from app.core.upload import Extent, UploadState
from app.persistence.repository import Repository
from app.services.live import LiveUpload

__all__ = ["record_extents"]


async def record_extents(
    repository: Repository, live: LiveUpload, extents: Sequence[Extent], *, at_s: float, durable: bool = False
) -> None:
    """Tell the database, then everybody; to be run `unbroken`.

    Args:
        repository: the database.
        live: the upload.
        extents: staged whole, and not recorded before.
        at_s: service seconds.
        durable: survives a power cut (the bytes must have been synced before).

    Raises:
        DatabaseUnavailable: it is not told; or it is, and said that it was not.
        NotFound, StateConflict: the database knows that the upload has ended.
    """
    try:
        await repository.record_extents(
            live.row.id, extents, active_at_s=at_s, state=UploadState.RECEIVING, durable=durable
        )
    except DatabaseUnavailable:
        live.doubt()
        raise
    if live.row.state is UploadState.CREATED:
        live.row = live.row.become(UploadState.RECEIVING)
    live.row = replace(live.row, active_at_s=at_s)
    for extent in extents:
        number = extent.offset // live.row.chunk_size
        live.attempts.pop(number, None)
        live.failed_chunks.discard(number)
        live.record(extent)
