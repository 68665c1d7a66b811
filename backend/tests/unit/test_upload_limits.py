"""Chunk size and lanes, as they are offered: without bound, and where staging has windows."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.core.errors import FileTooLarge
from app.core.upload import MAX_CHUNK_BYTES, MAX_CHUNKS, MIB, MIN_CHUNK_BYTES, Mode
from app.services.limits.upload_limits import UploadLimits

KIB = 1024


def limits(window_bytes: int | None, *, mode: Mode = Mode.PARALLEL) -> UploadLimits:
    """The defaults."""
    return UploadLimits(
        mode=mode,
        chunk_bytes=16 * MIB,
        max_chunk_bytes=MAX_CHUNK_BYTES,
        lanes=8,
        max_file_bytes=5 * 2**40,
        expiry_s=1,
        max_pending_per_user=1,
        window_bytes=window_bytes,
    )


def test_without_windows_nothing_is_bounded() -> None:
    """The spool has the whole file."""
    assert limits(None).chunk_of(10_000 * MIB, None, 1) == 16 * MIB
    assert limits(None).lanes_of(1024 * MIB) == 8
    assert limits(None).single_request_bytes == 16 * MIB


def test_all_lanes_have_room_in_the_window() -> None:
    """The chunk gives way before the lanes do; a chunk that waits for its answer has room as well."""
    windowed = limits(54 * MIB)
    assert (windowed.chunk_of(1000 * MIB, None, 1), windowed.lanes_of(6 * MIB)) == (6 * MIB, 8)
    assert limits(MIB).chunk_of(1000 * MIB, None, 1) == MIN_CHUNK_BYTES
    assert limits(MIB).lanes_of(MIN_CHUNK_BYTES) == 3
    assert limits(3 * MIB, mode=Mode.SEQUENTIAL).chunk_of(1000 * MIB, None, 1) == 3 * MIB
    assert limits(300 * MIB).single_request_bytes == 16 * MIB
    assert limits(MIB).single_request_bytes == MIB


def test_what_a_client_asks_for_ends_where_its_destination_does() -> None:
    """So that its room is given back whole."""
    windowed = limits(49 * MIB)
    assert windowed.chunk_of(1000 * MIB, 1_000_000, 1) == 1_000_000
    assert windowed.chunk_of(1000 * MIB, 1_000_000, 256 * KIB) == 768 * KIB
    assert windowed.chunk_of(1000 * MIB, 1024 * MIB, 256 * KIB) == 49 * MIB
    assert windowed.lanes_of(49 * MIB) == 1


def test_a_file_of_too_many_chunks_is_too_large() -> None:
    """And it is told how large one may be."""
    largest = MAX_CHUNKS * 7 * MIN_CHUNK_BYTES
    windowed = limits(7 * MIN_CHUNK_BYTES + 1000)
    assert windowed.chunk_of(largest, None, 1) == 7 * MIN_CHUNK_BYTES
    with pytest.raises(FileTooLarge) as refused:
        windowed.chunk_of(largest + 1, None, 1)
    assert refused.value.extensions["limit"] == largest


@example(
    window=MIB, size=6 * MIB, asked=None, multiple=MIB, mode=Mode.PARALLEL
)  # lanes would have had less than a part
@given(
    window=st.integers(768 * KIB, 200 * MIB),
    size=st.integers(1, 2**36),
    asked=st.none() | st.integers(MIN_CHUNK_BYTES, MAX_CHUNK_BYTES),
    multiple=st.sampled_from([1, 64 * KIB, 256 * KIB, MIB]),
    mode=st.sampled_from(list(Mode)),
)
def test_whatever_is_offered_gets_on(window: int, size: int, asked: int | None, multiple: int, mode: Mode) -> None:
    """All lanes fit, and an upload with such chunks can be held."""
    windowed = limits(max(window, multiple), mode=mode)
    try:
        chunk = windowed.chunk_of(size, asked, multiple)
    except FileTooLarge:
        assert size > MAX_CHUNKS * MIN_CHUNK_BYTES
        return
    assert chunk * windowed.lanes_of(chunk) <= max(window, multiple)
    assert chunk >= size or windowed.can_hold(chunk, multiple)
