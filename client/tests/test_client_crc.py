"""CRC32C of joined pieces."""

from __future__ import annotations

import crc32c
from hypothesis import given
from hypothesis import strategies as st

from forebay._crc import content_digest, crc32c_combine, crc32c_join


@given(st.binary(), st.binary())
def test_combining_equals_hashing_the_whole(first: bytes, second: bytes) -> None:
    """For any two pieces."""
    joined = crc32c_combine(crc32c.crc32c(first), crc32c.crc32c(second), len(second))
    assert joined == crc32c.crc32c(first + second)


@given(st.lists(st.binary(max_size=50)))
def test_joining_equals_hashing_the_whole(pieces: list[bytes]) -> None:
    """For any number of pieces, none and empty ones too."""
    assert crc32c_join((crc32c.crc32c(piece), len(piece)) for piece in pieces) == crc32c.crc32c(b"".join(pieces))


def test_the_header_is_that_of_rfc_9530() -> None:
    """The check value of CRC32C, big-endian, base64 between colons."""
    assert crc32c.crc32c(b"123456789") == 0xE3069283
    assert content_digest(0xE3069283) == "crc32c=:4waSgw==:"
