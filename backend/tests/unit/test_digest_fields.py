"""Content-Digest as RFC 9530 writes it."""

from __future__ import annotations

import base64
import hashlib
from contextlib import nullcontext

import crc32c
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import DigestMismatch, InvalidDigest
from app.protocols.digest import DeclaredDigest, DigestCheck, format_digest, parse_digest

SHA = base64.b64encode(hashlib.sha256(b"x").digest()).decode()


@given(st.binary(max_size=50), st.integers(0, 2**32 - 1))
def test_what_is_written_is_read_back(content: bytes, crc: int) -> None:
    """Both algorithms, in one field."""
    digest = hashlib.sha256(content)
    field = format_digest(digest.hexdigest(), crc)
    declared = parse_digest(field)
    assert (declared.sha256, declared.crc32c) == (digest.digest(), crc)


@given(st.lists(st.binary(max_size=20), max_size=5), st.booleans(), st.booleans())
def test_bytes_are_what_was_declared_or_not(pieces: list[bytes], sha256: bool, crc: bool) -> None:
    """However they are cut; each digest that was declared counts."""
    content = b"".join(pieces)
    right = DeclaredDigest(
        hashlib.sha256(content).digest() if sha256 else None, crc32c.crc32c(content) if crc else None
    )
    check = DigestCheck(right)
    for piece in pieces:
        check.update(memoryview(piece))
    check.judge()
    check.update(memoryview(b"more"))
    with pytest.raises(DigestMismatch) if right else nullcontext():
        check.judge()


def test_no_field_declares_nothing() -> None:
    """And is false."""
    assert not parse_digest(None)


def test_an_algorithm_that_we_do_not_know_is_ignored_beside_one_that_we_do() -> None:
    """RFC 9530 section 2."""
    assert parse_digest(f"md5=:AAAA:, sha-256=:{SHA}:").sha256 == hashlib.sha256(b"x").digest()


@pytest.mark.parametrize(
    "field",
    [
        "",
        "sha-256",
        f"sha-256={SHA}",
        f"sha-256=:{SHA}",
        "sha-256=:AAAA:",
        "sha-256=:!!!!:",
        "sha-256=:A:",
        "crc32c=:AAAAAAA=:",
        "md5=:AAAA:",
        f"sha-256=:{SHA}:;;",
        "x" * 2000,
    ],
)
def test_a_digest_that_can_not_be_checked_is_refused(field: str) -> None:
    """Rather than believed."""
    with pytest.raises(InvalidDigest):
        parse_digest(field)
