"""Chunks cover a file exactly, for every size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import ChunkOutOfRange
from app.core.upload import CHUNK_QUANTUM_BYTES, MAX_CHUNKS, MIB, ChunkGrid, Extent, choose_chunk_size

TIB = 1024 * 1024 * MIB


@given(st.integers(0, 5 * TIB), st.integers(1, 1024), st.integers(1, 64))
def test_the_chosen_chunk_size_fits_every_file(size: int, most_mib: int, lanes: int) -> None:
    """Never more chunks than the cap, never larger than allowed without need, a multiple of the quantum."""
    most = most_mib * MIB
    chosen = choose_chunk_size(size, most=most, lanes=lanes)
    grid = ChunkGrid(size, chosen)
    assert chosen % CHUNK_QUANTUM_BYTES == 0
    assert grid.count <= MAX_CHUNKS
    assert chosen <= most or size > most * (MAX_CHUNKS - 1)
    if lanes * CHUNK_QUANTUM_BYTES <= size <= most * lanes:
        assert grid.count >= lanes // 2  # a small file uses the lanes too


@pytest.mark.parametrize(
    ("megabytes", "rounds", "chunk_mib"),
    [(10, 1, 1.25), (100, 6, 2.0), (500, 16, 3.75), (900, 16, 6.75), (2000, 16, 15.0), (10_000, 75, 16.0)],
)
def test_no_lane_has_more_chunks_than_another(megabytes: int, rounds: int, chunk_mib: float) -> None:
    """With eight lanes and at most 16 MiB: several chunks for each where the file allows, and no round for a few only."""
    size = megabytes * 10**6
    chosen = choose_chunk_size(size, most=16 * MIB, lanes=8)
    assert chosen == chunk_mib * MIB
    assert -(-ChunkGrid(size, chosen).count // 8) == rounds


@given(st.integers(1, 10**11), st.integers(2, 64))
def test_lanes_end_together(size: int, lanes: int) -> None:
    """What a lane has less than another is what rounding to whole quanta leaves empty, and no chunk more."""
    chosen = choose_chunk_size(size, most=16 * MIB, lanes=lanes)
    rounds = -(-ChunkGrid(size, chosen).count // lanes)
    assert rounds * lanes * chosen - size < lanes * (rounds * CHUNK_QUANTUM_BYTES + 1)


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


@given(st.integers(1, 500), st.integers(1, 99), st.data())
def test_what_is_appended_has_a_part_in_the_chunks_it_touches(size: int, chunk_size: int, data: st.DataObject) -> None:
    """And has ended those of which it has the last byte."""
    grid = ChunkGrid(size, chunk_size)
    offset = data.draw(st.integers(0, size - 1))
    extent = Extent(offset, data.draw(st.integers(1, size - offset)), 0)
    chunks = [grid.chunk(number) for number in range(grid.count)]
    touched = [chunk.number for chunk in chunks if chunk.offset < extent.end and offset < chunk.end]
    assert list(grid.numbers_of(extent)) == touched
    assert grid.ended_by(extent) == sum(offset < chunk.end <= extent.end for chunk in chunks)


@pytest.mark.parametrize("number", [-1, 3, 2**63])
def test_there_is_no_chunk_outside_the_grid(number: int) -> None:
    """Three chunks are 0, 1 and 2."""
    with pytest.raises(ChunkOutOfRange):
        ChunkGrid(25, 10).chunk(number)
