"""How large the buffer pool is when the operator does not say.

The law of this file: lowering the percentage, the users or the chunks per upload (the guide's three cures) lowers the
result, until the floor is reached. A pool is needed for bursts only (a waiting connection holds no slab), so a small
part of memory is plenty; the ceiling keeps the whole server below 200 MiB with some 75 MiB for everything else.
"""

from __future__ import annotations

__all__ = ["POOL_CEILING_BYTES", "pool_slabs"]

POOL_CEILING_BYTES = 64 * 1024 * 1024
_MEMORY_SHARE = 64  # the pool is at most 1/64 of the memory there is: the ceiling from 4 GiB on
_FULL_LANES = 256  # connections that may send at once from which on the pool grows no further


def pool_slabs(
    *,
    memory_limit_bytes: int,
    max_memory_percent: float,
    users: int,
    chunks: int,
    worker_threads: int,
    slab_bytes: int,
    buffer_pool_bytes: int | None,
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

    Returns:
        At least `worker_threads + 1`, a slab for each thread and the reserved one, also against the operator's figure
        and the ceiling: with fewer, threads would stand idle.
    """
    if buffer_pool_bytes is None:
        most = min(memory_limit_bytes / _MEMORY_SHARE, POOL_CEILING_BYTES)
        lanes = min(1.0, users * chunks / _FULL_LANES)
        buffer_pool_bytes = int(most * max_memory_percent / 100 * lanes)
    return max(worker_threads + 1, buffer_pool_bytes // slab_bytes)
