"""Resumable uploads by curl, as the documentation shows them."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

from app.testing.product import Product

from .conftest import ROOT

SPOKEN = ("-HUpload-Draft-Interop-Version: 8",)


def curl(*arguments: str) -> bytes:
    """What curl prints."""
    command = ["curl", "--silent", "--show-error", "--max-time", "30", *SPOKEN, *arguments]
    return subprocess.run(command, capture_output=True, check=True, timeout=60).stdout


def test_a_file_by_curl(product: Product, tmp_path: Path) -> None:
    """It shows the interim response, and what became of the file."""
    content = os.urandom(100_000)
    (tmp_path / "report.pdf").write_bytes(content)
    shown = curl(
        "-i", "-HUpload-Complete: ?1", '-HContent-Disposition: inline; filename="report.pdf"',
        "-HContent-Type: application/pdf", "--data-binary", f"@{tmp_path / 'report.pdf'}", f"{product.url}{ROOT}",
    )  # fmt: skip
    interim, _, rest = shown.partition(b"\r\n\r\n")
    assert interim.startswith(b"HTTP/1.1 104 Upload Resumption Supported")
    assert b"HTTP/1.1 201 " in rest
    assert json.loads(rest.rpartition(b"\r\n\r\n")[2])["media_type"] == "application/pdf"
    assert (product.files / "report.pdf").read_bytes() == content


def test_a_file_that_curl_goes_on_with(product: Product, tmp_path: Path) -> None:
    """Begun, asked about, gone on with; each with the address that it was told."""
    content = os.urandom(100_000)
    (tmp_path / "rest").write_bytes(content[60_000:])
    (tmp_path / "first").write_bytes(content[:60_000])
    named = '-HContent-Disposition: inline; filename="f"'
    first = curl(
        "-i", "-HUpload-Complete: ?0", named, "--data-binary", f"@{tmp_path / 'first'}", f"{product.url}{ROOT}"
    )
    location = re.search(rb"(?im)^location: (\S+)\r$", first)
    assert location is not None
    url = location[1].decode()
    head = curl("-I", url)
    assert b"upload-offset: 60000\r\n" in head
    assert b"upload-complete: ?0\r\n" in head
    answer = curl(
        "-XPATCH", "-HUpload-Complete: ?1", "-HUpload-Offset: 60000", "-HContent-Type: application/partial-upload",
        "--data-binary", f"@{tmp_path / 'rest'}", url,
    )  # fmt: skip
    assert json.loads(answer)["state"] == "completed"
    assert (product.files / "f").read_bytes() == content
