"""tus, checksum-trailer: the checksum comes behind the bytes."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from app.testing.live_server import Answer, RawClient, read_answer
from app.testing.tus_client import BYTES, ROOT, Tus, checksum, metadata

Stored = Callable[[str], bytes]


def send_chunked(tus: Tus, method: str, path: str, headers: dict[str, str], data: bytes, trailer: str) -> Answer:
    """A chunked request with a trailer section."""
    connection = tus.api.connection
    lines = {"Host": f"{connection.host}:{connection.port}", "Transfer-Encoding": "chunked", **BYTES, **headers}
    head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items()) + "\r\n"
    half = len(data) // 2
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (data[:half], data[half:]) if piece)
    with socket.create_connection((connection.host, connection.port), timeout=30) as sock:
        return read_answer(RawClient(sock).send(head.encode() + body + b"0\r\n" + trailer.encode() + b"\r\n"))


def patch(tus: Tus, path: str, offset: int, data: bytes, trailer: str, **more: str) -> Answer:
    """A PATCH with an announced trailer."""
    headers = {"Trailer": "Upload-Checksum", "Upload-Offset": str(offset), **more}
    return send_chunked(tus, "PATCH", path, headers, data, trailer)


def line(algorithm: str, data: bytes) -> str:
    """The trailer field."""
    return f"Upload-Checksum: {checksum(algorithm, data)['Upload-Checksum']}\r\n"


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512", "md5"])
def test_bytes_with_a_checksum_behind_them(tus: Tus, stored: Stored, algorithm: str) -> None:
    """Kept when it is theirs; all refused when it is not, and then they can be sent again."""
    content = os.urandom(700_000)
    path = tus.begin(len(content))
    assert patch(tus, path, 0, content[:400_000], line(algorithm, b"other")).status == 460
    assert tus.position(path) == 0
    first = patch(tus, path, 0, content[:400_000], line(algorithm, content[:400_000]))
    assert (first.status, first.headers["upload-offset"]) == (204, "400000")
    assert patch(tus, path, 400_000, content[400_000:], line(algorithm, content[400_000:])).status == 204
    assert stored("report.bin") == content


def test_crc32c_behind_the_bytes(tus: Tus, stored: Stored) -> None:
    """The check value of its definition."""
    path = tus.begin(9)
    assert patch(tus, path, 0, b"123456789", "Upload-Checksum: crc32c 4waSgw==\r\n").status == 204
    assert stored("report.bin") == b"123456789"


def test_behind_the_bytes_of_a_creation(tus: Tus, stored: Stored) -> None:
    """Creation-with-upload has it too."""
    headers = {"Upload-Length": "5", "Upload-Metadata": metadata(filename="report.bin"), "Trailer": "Upload-Checksum"}
    wrong = send_chunked(tus, "POST", ROOT, headers, b"hello", line("sha1", b"world"))
    assert wrong.status == 460
    created = send_chunked(tus, "POST", ROOT, headers, b"hello", line("sha1", b"hello"))
    assert (created.status, created.headers["upload-offset"]) == (201, "5")
    assert urlsplit(created.headers["location"]).path.startswith(ROOT)
    assert stored("report.bin") == b"hello"


@pytest.mark.parametrize(
    ("trailer", "code"),
    [
        ("", "invalid-digest"),
        ("X-Other: sha1 AAAA\r\n", "invalid-digest"),
        ("Upload-Checksum: rot13 AAAA\r\n", "invalid-digest"),
        ("Upload-Checksum: sha1 AAAA\r\n", "invalid-digest"),
        ("Upload-Checksum: \r\n", "invalid-digest"),
        (line("sha1", b"hello") * 2, "invalid-digest"),
    ],
)
def test_an_announced_checksum_that_does_not_come(tus: Tus, trailer: str, code: str) -> None:
    """Is no reason to believe the bytes: nothing is kept."""
    path = tus.begin(5)
    answer = patch(tus, path, 0, b"hello", trailer)
    assert (answer.status, code in answer.body.decode()) == (400, True)
    assert tus.position(path) == 0


@pytest.mark.parametrize(
    "headers",
    [
        {**checksum("sha1", b"hello"), "Trailer": "Upload-Checksum"},
        {"Trailer": "upload-checksum", "Content-Length": "5"},
    ],
)
def test_announcements_that_cannot_be(tus: Tus, headers: dict[str, str]) -> None:
    """Two checksums; a trailer without chunks."""
    path = tus.begin(5)
    if "Content-Length" in headers:
        assert tus.patch(path, 0, b"hello", headers).code == "invalid-request"
    else:
        assert patch(tus, path, 0, b"hello", line("sha1", b"hello"), **headers).status == 400
    assert tus.position(path) == 0


def test_a_checksum_that_was_not_announced_is_not_looked_at(tus: Tus, stored: Stored) -> None:
    """A trailer may be dropped on the way (RFC 9110 section 6.5.1); who wants it to count says that it comes."""
    path = tus.begin(5)
    answer = send_chunked(tus, "PATCH", path, {"Upload-Offset": "0"}, b"hello", line("sha1", b"other"))
    assert answer.status == 204
    assert stored("report.bin") == b"hello"
