"""Chunks cover a file exactly, for every size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import ChunkOutOfRange
from app.core.upload import CHUNK_QUANTUM_BYTES, MAX_CHUNKS, MIB, ChunkGrid, choose_chunk_size

TIB = 1024 * 1024 * MIB


@given(st.integers(0, 5 * TIB), st.integers(1, 1024), st.integers(1, 64))
def test_the_chosen_chunk_size_fits_every_file(size: int, preferred_mib: int, lanes: int) -> None:
    """Never more chunks than the cap, never larger than preferred without need, a multiple of the quantum."""
    preferred = preferred_mib * MIB
    chosen = choose_chunk_size(size, preferred=preferred, lanes=lanes)
    grid = ChunkGrid(size, chosen)
    assert chosen % CHUNK_QUANTUM_BYTES == 0
    assert grid.count <= MAX_CHUNKS
    assert chosen <= preferred or size > preferred * (MAX_CHUNKS - 1)
    if lanes * CHUNK_QUANTUM_BYTES <= size <= preferred * lanes:
        assert grid.count >= lanes // 2  # a small file uses the lanes too


@given(st.integers(0, 10_000), st.integers(1, 999))
def test_chunks_lie_end_to_end_and_cover_the_file(size: int, chunk_size: int) -> None:
    """The next chunk begins where the last ended; the last ends with the file."""
    grid = ChunkGrid(size, chunk_size)
    position = 0
    for number in range(grid.count):
        chunk = grid.chunk(number)
        assert chunk.offset == position
        assert 0 < chunk.length <= chunk_size
        position = chunk.end
    assert position == size


@pytest.mark.parametrize("number", [-1, 3, 2**63])
def test_there_is_no_chunk_outside_the_grid(number: int) -> None:
    """Three chunks are 0, 1 and 2."""
    with pytest.raises(ChunkOutOfRange):
        ChunkGrid(25, 10).chunk(number)
