"""How the memory that there is, is divided: the buffer pool, and staging where that is in memory."""

from __future__ import annotations

from app.core.settings import Settings
from app.core.upload import MIB, Mode
from app.services._memory_probe import MemoryProbe
from app.services.limits.sizing import StagingMemory, pool_slabs, staging_memory

__all__ = ["memory_plan", "pool_plan"]

_SMALLEST_MEMORY = 1024 * MIB


def memory_plan(settings: Settings) -> StagingMemory:
    """How large staging in memory is, where it is there."""
    return staging_memory(
        memory_limit_bytes=_memory_limit(),
        max_memory_percent=settings.max_memory_percent,
        uploads=settings.upload_limit,
        chunks=settings.max_concurrent_chunks if settings.mode is Mode.PARALLEL else 1,
        staging_bytes=settings.memory_staging_mb * MIB if settings.memory_staging_mb is not None else None,
    )


def pool_plan(settings: Settings) -> int:
    """How many slabs the buffer pool has."""
    return pool_slabs(
        memory_limit_bytes=_memory_limit(),
        max_memory_percent=settings.max_memory_percent,
        users=settings.max_concurrent_users,
        chunks=settings.max_concurrent_chunks,
        worker_threads=settings.worker_threads,
        slab_bytes=settings.slab_bytes,
        buffer_pool_bytes=settings.buffer_pool_mb * MIB if settings.buffer_pool_mb is not None else None,
        for_receiving_only=settings.staging == "memory",
    )


def _memory_limit() -> int:
    """The container's or host's memory, to size the pool by; where it can't be measured, the smallest we are made for."""
    try:
        return MemoryProbe()().capacity_bytes
    except (OSError, ValueError):
        return _SMALLEST_MEMORY
