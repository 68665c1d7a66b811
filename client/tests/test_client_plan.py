"""From missing ranges to chunks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from forebay._plan import held_chunks, is_missing, missing_chunks

grids = st.tuples(st.integers(0, 300), st.integers(1, 70))
ranges = st.lists(st.tuples(st.integers(0, 310), st.integers(0, 310)), max_size=8)


@given(grids, ranges)
def test_exactly_the_chunks_with_a_missing_byte_are_sent(grid: tuple[int, int], missing: list[tuple[int, int]]) -> None:
    """Checked byte by byte; in order, each once."""
    size, chunk_size = grid
    bytes_missing = {position for start, end in missing for position in range(start, min(end, size))}
    wanted = sorted({position // chunk_size for position in bytes_missing})
    assert [chunk.number for chunk in missing_chunks(size, chunk_size, missing)] == wanted


@given(grids, ranges)
def test_held_and_missing_chunks_make_up_the_file(grid: tuple[int, int], missing: list[tuple[int, int]]) -> None:
    """No chunk in both, none left out, together every byte once."""
    size, chunk_size = grid
    chunks = sorted(missing_chunks(size, chunk_size, missing) + held_chunks(size, chunk_size, missing))
    position = 0
    for number, chunk in enumerate(chunks):
        assert (chunk.number, chunk.offset) == (number, position)
        assert 0 < chunk.length <= chunk_size
        position += chunk.length
    assert position == size


@given(grids, ranges)
def test_a_planned_chunk_is_missing_and_a_held_one_is_not(
    grid: tuple[int, int], missing: list[tuple[int, int]]
) -> None:
    """`is_missing` agrees with the plan."""
    size, chunk_size = grid
    clipped = [(start, min(end, size)) for start, end in missing]
    assert all(is_missing(chunk, clipped) for chunk in missing_chunks(size, chunk_size, missing))
    assert not any(is_missing(chunk, clipped) for chunk in held_chunks(size, chunk_size, missing))


def test_a_huge_range_is_planned_without_walking_its_bytes() -> None:
    """5 TiB in 50,000 chunks or so."""
    size = 5 * 2**40
    assert len(missing_chunks(size, 128 * 2**20, [(0, size)])) == 40_960
