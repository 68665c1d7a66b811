"""How large the buffer pool, and staging in memory, are when the operator does not say.

The law of this file: lowering the percentage, the users or the chunks per upload (the guide's three cures) lowers the
results, until the floor is reached. A pool is needed for bursts only (a waiting connection holds no slab), so a small
part of memory is plenty; the ceiling keeps the whole server below 200 MiB with some 75 MiB for everything else.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MIN_WINDOW_BYTES", "POOL_CEILING_BYTES", "StagingMemory", "pool_slabs", "quiet_slabs", "staging_memory"]

MIN_WINDOW_BYTES = 1024 * 1024
POOL_CEILING_BYTES = 64 * 1024 * 1024
_MEMORY_SHARE = 64  # the pool is at most 1/64 of the memory there is: the ceiling from 4 GiB on
_FULL_LANES = 256  # connections that may send at once from which on the pool grows no further
_LARGE_POOL_SLABS = 20

_STAGING_CEILING_BYTES = 1280 * 1024 * 1024  # with the default percentage: 1 GiB
_STAGING_SHARE = 4  # a quarter of the memory there is: relaying is what such a machine is for
_STAGING_FULL_LANES = 160  # 20 uploads with 8 chunks each: more share the same
_WINDOW_SLABS = 16  # at least, since up to one is lost to where a window begins; a large slab is read in one go
_SMALLEST_SLAB_BYTES = 256 * 1024
_LARGEST_SLAB_BYTES = 2 * 1024 * 1024


def pool_slabs(
    *,
    memory_limit_bytes: int,
    max_memory_percent: float,
    users: int,
    chunks: int,
    worker_threads: int,
    slab_bytes: int,
    buffer_pool_bytes: int | None,
    for_receiving_only: bool = False,
) -> int:
    """Number of slabs of the pool.

    Unset, it is `min(memory / 64, 64 MiB) * percent / 100 * min(1, users * chunks / 256)`, in whole slabs: with the
    defaults (80 %, 20 users, 8 chunks) and 4 GiB or more, 32 MiB.

    Args:
        memory_limit_bytes: of the container, else of the host.
        max_memory_percent: share of it that may be used, 0 to 100.
        users: distinct users at once.
        chunks: in flight per upload.
        worker_threads: that move bodies; each holds a slab during a burst.
        slab_bytes: size of one slab.
        buffer_pool_bytes: the operator's own figure, taken as it is; None to compute it.
        for_receiving_only: nothing is read through it, since staging is in memory itself: half of it does.

    Returns:
        At least `worker_threads + 1`, a slab for each thread and the reserved one, also against the operator's figure
        and the ceiling: with fewer, threads would stand idle.
    """
    if buffer_pool_bytes is None:
        most = min(memory_limit_bytes / _MEMORY_SHARE, POOL_CEILING_BYTES)
        lanes = min(1.0, users * chunks / _FULL_LANES)
        buffer_pool_bytes = int(most * max_memory_percent / 100 * lanes / (2 if for_receiving_only else 1))
    return max(worker_threads + 1, buffer_pool_bytes // slab_bytes)


def quiet_slabs(slabs: int, readers: int) -> int:
    """How many of a pool's slabs are for those who read staging for themselves: to digest, to verify.

    Each such use makes a whole slab resident. Where all slabs took their turns in it, a thousand slow uploads, which touch
    a few KiB of a slab each, had all of a large pool resident when they became whole. A small pool is so anyway.

    Args:
        slabs: of the pool.
        readers: threads that read; one slab more has the next one's turn ready.
    """
    return readers + 1 if slabs >= _LARGE_POOL_SLABS else 0


@dataclass(frozen=True, slots=True)
class StagingMemory:
    """How staging in memory is cut."""

    slab_bytes: int
    slabs: int
    window_slabs: int  # of one upload


def staging_memory(
    *, memory_limit_bytes: int, max_memory_percent: float, uploads: int, chunks: int, staging_bytes: int | None
) -> StagingMemory:
    """Size and windows of staging in memory: all active uploads have theirs at the same time.

    Unset, it is `min(memory / 4, 1280 MiB) * percent / 100 * min(1, uploads * chunks / 160)`: with the defaults (80 %, 20
    uploads, 8 chunks) and 5 GiB or more, 1 GiB, of which each upload has 51 MiB.

    Args:
        memory_limit_bytes: of the container, else of the host.
        max_memory_percent: share of it that may be used, 0 to 100.
        uploads: active at once.
        chunks: in flight per upload.
        staging_bytes: the operator's own figure, taken as it is; None to compute it.

    Returns:
        Windows of at least 1 MiB, also against the operator's figure and the machine's: with less nothing would get on.
    """
    if staging_bytes is None:
        most = min(memory_limit_bytes / _STAGING_SHARE, _STAGING_CEILING_BYTES)
        lanes = min(1.0, uploads * chunks / _STAGING_FULL_LANES)
        staging_bytes = int(most * max_memory_percent / 100 * lanes)
    window_bytes = max(MIN_WINDOW_BYTES, staging_bytes // uploads)
    slab_bytes = _LARGEST_SLAB_BYTES
    while slab_bytes > _SMALLEST_SLAB_BYTES and slab_bytes * _WINDOW_SLABS > window_bytes:
        slab_bytes //= 2
    window_slabs = window_bytes // slab_bytes
    return StagingMemory(slab_bytes, max(uploads * window_slabs, staging_bytes // slab_bytes), window_slabs)
