"""tus, checksum: the bytes of a request are those that were sent, or none of them is kept."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from app.testing.api_client import refusal
from app.testing.tus_client import Tus, checksum

Stored = Callable[[str], bytes]


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512", "md5"])
def test_bytes_with_a_checksum(tus: Tus, stored: Stored, algorithm: str) -> None:
    """Kept when it is theirs; all refused when it is not, and then they can be sent again."""
    first, second = os.urandom(300_000), os.urandom(5)
    path = tus.begin(len(first + second))
    refusal(tus.patch(path, 0, first, checksum(algorithm, second)), 460, "checksum-mismatch")
    assert tus.position(path) == 0
    assert tus.patch(path, 0, first, checksum(algorithm, first)).status == 204
    refusal(tus.patch(path, len(first), second, checksum(algorithm, first)), 460, "checksum-mismatch")
    assert tus.position(path) == len(first)
    assert tus.patch(path, len(first), second, checksum(algorithm, second)).status == 204
    assert stored("report.bin") == first + second


def test_crc32c_is_four_bytes_most_significant_first(tus: Tus, stored: Stored) -> None:
    """The check value of its definition (RFC 3720 appendix B.4 has more)."""
    path = tus.begin(9)
    assert tus.patch(path, 0, b"123456789", {"Upload-Checksum": "crc32c 4waSgw=="}).status == 204
    assert stored("report.bin") == b"123456789"


def test_nothing_is_kept_of_a_broken_request_with_a_checksum(
    tus: Tus, stored: Stored, some_came: Callable[[str], None]
) -> None:
    """What it was can't be known."""
    content = os.urandom(1 << 20)
    path = tus.begin(len(content))
    sock = tus.begin_patch(path, 0, len(content), content[:500_000], **checksum("sha1", content))
    some_came(path)
    sock.close()
    assert tus.position(path) == 0
    assert tus.patch(path, 0, content, checksum("sha1", content)).status == 204
    assert stored("report.bin") == content
