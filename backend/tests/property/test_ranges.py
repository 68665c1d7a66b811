"""RangeSet against a plain set of positions; CRC combination against the checksum itself."""

from __future__ import annotations

import itertools

import crc32c
from hypothesis import given
from hypothesis import strategies as st

from app.core.crc import crc32c_combine
from app.core.ranges import RangeSet

SIZE = 40
spans = st.tuples(st.integers(0, SIZE - 1), st.integers(1, SIZE)).filter(lambda span: span[0] < span[1])


@given(st.lists(st.tuples(st.booleans(), spans)), spans)
def test_a_range_set_holds_what_a_set_of_positions_holds(
    steps: list[tuple[bool, tuple[int, int]]], probe: tuple[int, int]
) -> None:
    """Adding, removing, covering, overlapping, missing and prefix agree with the plain model."""
    ranges, model = RangeSet(), set[int]()
    for adding, (start, end) in steps:
        if adding:
            ranges.add(start, end)
            model |= set(range(start, end))
        else:
            ranges.remove(start, end)
            model -= set(range(start, end))
    held = list(ranges)
    assert {position for start, end in held for position in range(start, end)} == model
    assert all(end < following for (_, end), (following, _) in itertools.pairwise(held))
    assert ranges.total == len(model)
    assert ranges.covers(*probe) == (set(range(*probe)) <= model)
    assert ranges.overlaps(*probe) == bool(set(range(*probe)) & model)
    missing = {position for start, end in ranges.missing(SIZE) for position in range(start, end)}
    assert missing == set(range(SIZE)) - model
    assert ranges.prefix == next(position for position in range(SIZE + 1) if position not in model)


@given(st.lists(st.binary(max_size=300), max_size=6))
def test_checksums_of_pieces_combine_into_the_whole(pieces: list[bytes]) -> None:
    """In order, whatever the lengths, empty ones included."""
    crc = 0
    for piece in pieces:
        crc = crc32c_combine(crc, crc32c.crc32c(piece), len(piece))
    assert crc == crc32c.crc32c(b"".join(pieces))
