"""curl, for those who have nothing else: tus by hand, and a file in one request."""

from __future__ import annotations

import base64
import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path

from .conftest import MIB, Place

_TUS = ("-H", "Tus-Resumable: 1.0.0")


def curl(*arguments: str) -> str:
    """What it prints; fails when the answer is a refusal."""
    command = ["curl", "--silent", "--show-error", "--fail-with-body", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_tus_by_hand(place: Place, make_file: Callable[[str, int], Path]) -> None:
    """Create, send, ask, send the rest with its checksum."""
    file = make_file("by-hand.bin", 3 * MIB)
    content = file.read_bytes()
    first, rest = make_file("first", 0), make_file("rest", 0)
    first.write_bytes(content[:MIB])
    rest.write_bytes(content[MIB:])
    named = base64.b64encode(file.name.encode()).decode()
    length, metadata = f"Upload-Length: {len(content)}", f"Upload-Metadata: filename {named}"
    address = curl(*_TUS, "-X", "POST", place.tus, "-H", length, "-H", metadata, "-w", "%header{location}")
    body = ("-H", "Content-Type: application/offset+octet-stream", "-X", "PATCH", address)
    curl(*_TUS, *body, "-H", "Upload-Offset: 0", "--data-binary", f"@{first}")
    assert curl(*_TUS, "--head", address, "-o", "/dev/null", "-w", "%header{upload-offset}") == str(MIB)
    digest = base64.b64encode(hashlib.sha256(content[MIB:]).digest()).decode()
    checksum = f"Upload-Checksum: sha256 {digest}"
    curl(*_TUS, *body, "-H", f"Upload-Offset: {MIB}", "-H", checksum, "--data-binary", f"@{rest}")
    assert place.arrived(file.name)[1] == content


def test_put_and_form(place: Place, make_file: Callable[[str, int], Path]) -> None:
    """`curl -T` and `curl -F`."""
    put, form = make_file("put.bin", 2 * MIB), make_file("form.bin", 2 * MIB)
    curl("-T", str(put), f"{place.server.url}/api/v1/files/")
    curl("-F", f"file=@{form}", f"{place.server.url}/api/v1/forms")
    for file in (put, form):
        assert place.arrived(file.name)[1] == file.read_bytes()
