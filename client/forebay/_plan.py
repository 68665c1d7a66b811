"""Which chunks to send, given what the server misses. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["PlannedChunk", "held_chunks", "is_missing", "missing_chunks"]


class PlannedChunk(NamedTuple):
    """A numbered piece of the file; `offset = number * chunk_size`."""

    number: int
    offset: int
    length: int


def missing_chunks(size: int, chunk_size: int, missing: Iterable[tuple[int, int]]) -> list[PlannedChunk]:
    """The chunks of which at least one byte is missing, in order, each once.

    A chunk is sent whole or not at all, since the server takes nothing less; one that the server has is never in
    the plan.

    Args:
        size: of the file, bytes.
        chunk_size: of every chunk but the last, bytes.
        missing: half-open byte ranges, in any order; they may touch and overlap.
    """
    numbers: set[int] = set()
    for start, end in missing:
        low, high = max(0, start), min(end, size)
        if low < high:
            numbers.update(range(low // chunk_size, -(-high // chunk_size)))
    return [_chunk(size, chunk_size, number) for number in sorted(numbers)]


def held_chunks(size: int, chunk_size: int, missing: Iterable[tuple[int, int]]) -> list[PlannedChunk]:
    """The chunks that the server has whole, in order: all that `missing_chunks` leaves out."""
    wanted = {chunk.number for chunk in missing_chunks(size, chunk_size, missing)}
    return [_chunk(size, chunk_size, number) for number in range(-(-size // chunk_size)) if number not in wanted]


def is_missing(chunk: PlannedChunk, missing: Iterable[tuple[int, int]]) -> bool:
    """Whether a byte of the chunk is missing."""
    end = chunk.offset + chunk.length
    return any(max(start, chunk.offset) < min(stop, end) for start, stop in missing)


def _chunk(size: int, chunk_size: int, number: int) -> PlannedChunk:
    offset = number * chunk_size
    return PlannedChunk(number, offset, min(chunk_size, size - offset))
