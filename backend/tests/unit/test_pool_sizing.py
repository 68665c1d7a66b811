"""The sizes of the pool and of staging in memory: the guide's three cures lower them, floor and ceiling hold."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from app.services.limits.sizing import (
    MIN_WINDOW_BYTES,
    POOL_CEILING_BYTES,
    StagingMemory,
    pool_slabs,
    quiet_slabs,
    staging_memory,
)

MIB = 1024 * 1024
GIB = 1024 * MIB


def slabs(**changes: Any) -> int:
    """Slabs on a 4 GiB server with the default settings, but for the changes."""
    arguments: dict[str, Any] = {
        "memory_limit_bytes": 4 * GIB,
        "max_memory_percent": 80.0,
        "users": 20,
        "chunks": 8,
        "worker_threads": 4,
        "slab_bytes": MIB,
        "buffer_pool_bytes": None,
    }
    return pool_slabs(**(arguments | changes))


def test_defaults_on_a_4_gib_server_give_32_mib() -> None:
    """The figure of the documentation."""
    assert slabs() == 32


@pytest.mark.parametrize("memory", [2 * GIB, 4 * GIB, 64 * GIB])
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("max_memory_percent", (60.0, 70.0, 80.0, 85.0, 95.0)),
        ("users", (10, 15, 20, 30)),
        ("chunks", (4, 6, 8, 12)),
    ],
)
def test_each_cure_of_the_guide_lowers_the_pool(memory: int, name: str, values: tuple[float, ...]) -> None:
    """Fewer percent, users or chunks: strictly fewer slabs."""
    sizes = [slabs(memory_limit_bytes=memory, **{name: value}) for value in values]
    assert all(lower < higher for lower, higher in pairwise(sizes))


def test_profiles_of_the_guide_are_ordered() -> None:
    """Conservative below aggressive, below or at the one for large servers."""
    conservative = slabs(users=15, max_memory_percent=70.0, chunks=6)
    aggressive = slabs(users=20, max_memory_percent=80.0, chunks=8)
    large = slabs(memory_limit_bytes=8 * GIB, users=30, max_memory_percent=85.0, chunks=12)
    assert conservative < aggressive < large


def test_computed_pool_stays_below_its_ceiling() -> None:
    """However large the machine and the limits."""
    assert slabs(memory_limit_bytes=1024 * GIB, max_memory_percent=99.0, users=10_000, chunks=64) * MIB < (
        POOL_CEILING_BYTES
    )


def test_slab_size_changes_the_number_and_not_the_bytes() -> None:
    """Half the slab, twice the slabs."""
    assert slabs(slab_bytes=MIB // 2) == 64


@pytest.mark.parametrize("threads", [1, 4, 64])
def test_every_thread_has_a_slab_and_the_reserve_is_extra(threads: int) -> None:
    """Also in the smallest container and against the operator's own figure."""
    assert slabs(memory_limit_bytes=64 * MIB, worker_threads=threads) == threads + 1
    assert slabs(buffer_pool_bytes=MIB, worker_threads=threads) == threads + 1


def test_figure_of_the_operator_is_taken_as_it_is() -> None:
    """Above the ceiling too, whatever the other settings."""
    assert slabs(buffer_pool_bytes=300 * MIB, max_memory_percent=10.0) == 300


def test_a_large_pool_has_slabs_for_those_who_read_for_themselves() -> None:
    """One more than they are; a small pool, of which each thread needs its slab, has none."""
    assert quiet_slabs(32, readers=2) == 3
    assert quiet_slabs(5, readers=2) == 0


def test_half_a_pool_does_where_nothing_is_read_through_it() -> None:
    """Staging in memory is read where it is."""
    assert slabs(for_receiving_only=True) == 16
    assert slabs(for_receiving_only=True, buffer_pool_bytes=300 * MIB) == 300


def staging(**changes: Any) -> StagingMemory:
    """Staging in memory on an 8 GiB server with the default settings, but for the changes."""
    arguments: dict[str, Any] = {
        "memory_limit_bytes": 8 * GIB,
        "max_memory_percent": 80.0,
        "uploads": 20,
        "chunks": 8,
        "staging_bytes": None,
    }
    return staging_memory(**(arguments | changes))


def total(**changes: Any) -> int:
    """Its bytes."""
    memory = staging(**changes)
    return memory.slabs * memory.slab_bytes


def test_defaults_give_a_gibibyte_and_each_upload_its_share() -> None:
    """The figure of the documentation."""
    assert staging() == StagingMemory(slab_bytes=2 * MIB, slabs=512, window_slabs=25)


@pytest.mark.parametrize("memory", [2 * GIB, 4 * GIB, 64 * GIB])
@pytest.mark.parametrize(
    ("name", "values"),
    [("max_memory_percent", (60.0, 70.0, 80.0, 95.0)), ("uploads", (5, 10, 15, 20)), ("chunks", (2, 4, 6, 8))],
)
def test_each_cure_of_the_guide_lowers_staging_in_memory(memory: int, name: str, values: tuple[float, ...]) -> None:
    """Fewer percent, uploads or chunks: strictly less."""
    sizes = [total(memory_limit_bytes=memory, **{name: value}) for value in values]
    assert all(lower < higher for lower, higher in pairwise(sizes))


@pytest.mark.parametrize("uploads", [1, 3, 20, 1000])
@pytest.mark.parametrize("bytes_given", [None, 20 * MIB, 300 * MIB, 2 * GIB])
def test_all_active_uploads_have_their_windows_at_once(uploads: int, bytes_given: int | None) -> None:
    """And a window is large enough to get on, and of so many slabs that little is lost to where it begins."""
    memory = staging(uploads=uploads, staging_bytes=bytes_given)
    assert memory.slabs >= uploads * memory.window_slabs
    assert memory.window_slabs * memory.slab_bytes >= MIN_WINDOW_BYTES
    assert memory.window_slabs >= 16 or memory.slab_bytes == 256 * 1024


def test_the_operators_figure_for_staging_is_kept_to() -> None:
    """To the slab."""
    assert total(staging_bytes=300 * MIB) == 300 * MIB
    assert total(staging_bytes=20 * MIB) == 20 * MIB
