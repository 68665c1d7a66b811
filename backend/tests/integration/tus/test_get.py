"""GET at an address of tus: the file."""

from __future__ import annotations

from collections.abc import Callable

from app.testing.tus_client import Tus

Waits = Callable[[str], None]


def test_content_can_be_read_back(tus: Tus, completed: Waits) -> None:
    """Under the upload's own address, ranges too."""
    path = tus.begin(5, "five.bin")
    tus.patch(path, 0, b"hello")
    completed(path)
    assert tus.api.request("GET", path).body == b"hello"
    assert tus.api.request("GET", path, headers={"Range": "bytes=1-2"}).body == b"el"
