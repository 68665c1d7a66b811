"""tus, PATCH: bytes, where the upload stands."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from app.testing.api_client import refusal
from app.testing.tus_client import BYTES, Tus, metadata

MIB = 1 << 20
Stored = Callable[[str], bytes]
Waits = Callable[[str], None]


def test_a_file_in_several_requests(tus: Tus, stored: Stored, completed: Waits) -> None:
    """Each goes on where the one before ended; HEAD says where that is, and what the client has said."""
    content = os.urandom(3 * MIB + 17)
    path = tus.begin(len(content), "größe 文.bin", filetype="application/x-tar", flag=None)
    for start in range(0, len(content), 700_001):
        assert tus.position(path) == start
        piece = content[start : start + 700_001]
        reply = tus.patch(path, start, piece)
        assert (reply.status, reply.headers["upload-offset"]) == (204, str(start + len(piece)))
    head = tus.head(path)
    assert (head.headers["upload-length"], head.headers["upload-offset"]) == (str(len(content)),) * 2
    assert head.headers["upload-metadata"] == metadata(filename="größe 文.bin", filetype="application/x-tar", flag=None)
    assert stored("größe 文.bin") == content
    completed(path)
    assert tus.position(path) == len(content)
    view = tus.api.upload(path.rpartition("/")[2])
    assert (view["state"], view["media_type"]) == ("completed", "application/x-tar")


@pytest.mark.parametrize("offset", [0, 99, 101, 200])
def test_another_offset_changes_nothing(tus: Tus, offset: int) -> None:
    """409, and it stands where it stood."""
    path = tus.begin(200)
    assert tus.patch(path, 0, b"x" * 100).status == 204
    reply = tus.patch(path, offset, b"y" * 10)
    problem = refusal(reply, 409, "offset-conflict").json
    assert problem["position"] == 100
    assert reply.headers["tus-resumable"] == "1.0.0"
    assert tus.position(path) == 100


def test_more_than_the_file_has_is_refused(tus: Tus) -> None:
    """Before a byte is read, and with a length that is not declared when it has come; what it has stays as it was."""
    path = tus.begin(10)
    tus.patch(path, 0, b"12345")
    refusal(tus.patch(path, 5, b"6789012"), 413, "body-too-large")
    assert tus.position(path) == 5
    sock = tus.begin_patch(path, 5, 0, b"", Content_Length="5")
    sock.sendall(b"67890")
    assert sock.recv(100).startswith(b"HTTP/1.1 204")
    sock.close()


def test_a_body_without_declared_length(tus: Tus, stored: Stored) -> None:
    """Chunked: as far as it comes, and no farther than the file goes."""
    content = os.urandom(40 * 1024)
    path = tus.begin(len(content))
    connection = tus.api.connection

    def patch(offset: int, pieces: list[bytes]) -> int:
        connection.request("PATCH", path, iter(pieces), {**BYTES, "Upload-Offset": str(offset)}, encode_chunked=True)
        response = connection.getresponse()
        response.read()
        return response.status

    assert patch(0, [content[:10_000], content[10_000:20_000]]) == 204
    assert tus.position(path) == 20_000
    assert patch(20_000, [content[20_000:], b"too much"]) == 413
    connection.close()
    assert patch(tus.position(path), [content[tus.position(path) :]]) == 204
    assert stored("report.bin") == content


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Tus-Resumable": "0.2.2"}, 412, "unsupported-protocol-version"),
        ({"Content-Type": "application/octet-stream"}, 415, "unsupported-media-type"),
        ({"Upload-Offset": "-1"}, 400, "invalid-request"),
        ({"Upload-Offset": "1.5"}, 400, "invalid-request"),
        ({"Upload-Offset": "+1"}, 400, "invalid-request"),
        ({"Upload-Offset": ""}, 400, "invalid-request"),
        ({"Upload-Offset": "99999999999999999999"}, 400, "invalid-request"),
        ({"Upload-Checksum": "rot13 AAAA"}, 400, "invalid-digest"),
        ({"Upload-Checksum": "sha1 not-base64!"}, 400, "invalid-digest"),
        ({"Upload-Checksum": "sha1 AAAA"}, 400, "invalid-digest"),
    ],
)
def test_fields_that_cannot_be_used(tus: Tus, headers: dict[str, str], status: int, code: str) -> None:
    """Say which and why; nothing is kept."""
    path = tus.begin(10)
    reply = refusal(tus.patch(path, 0, b"12345", headers), status, code)
    assert reply.headers["tus-resumable"] == "1.0.0"
    assert reply.headers.get("tus-version") == ("1.0.0" if status == 412 else None)
    assert tus.position(path) == 0


def test_an_upload_of_tus_takes_no_chunks(tus: Tus) -> None:
    """It would leave a gap that tus can't tell of. Nor repeats: what was appended ends where it likes, not with a chunk."""
    content = os.urandom(17 * MIB)
    path = tus.begin(len(content) + 1)
    upload_id = path.rpartition("/")[2]
    chunk = tus.api.upload(upload_id)["chunk_size"]
    refusal(tus.api.put_chunk(upload_id, 0, content[:chunk]), 409, "state-conflict")
    assert tus.patch(path, 0, content).status == 204
    refusal(tus.api.put_chunk(upload_id, 0, content[:chunk]), 409, "state-conflict")
    assert tus.patch(path, len(content), b"x").status == 204
    assert tus.api.complete(upload_id).status == 200
    assert tus.delete(path).status == 204  # it is an upload like any other then
    refusal(tus.api.put_chunk(upload_id, 0, content[:chunk]), 409, "state-conflict")
