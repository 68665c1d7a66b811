"""tus, creation-defer-length: a file whose size is said when it is known."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from app.core.upload import MIB
from app.testing.api_client import ApiClient, refusal
from app.testing.product import Product
from app.testing.server_process import ServerProcess
from app.testing.tus_client import BYTES, ROOT, VERSION, Tus, checksum, metadata

Stored = Callable[[str], bytes]
Stands = Callable[[str, int], None]

DEFERRED = {**VERSION, "Upload-Defer-Length": "1"}


def begin(tus: Tus, name: str = "report.bin") -> str:
    """An upload of unknown length; its path."""
    reply = tus.api.request("POST", ROOT, headers={**DEFERRED, "Upload-Metadata": metadata(filename=name)})
    assert reply.status == 201, reply.body
    return urlsplit(reply.headers["location"]).path


def test_the_length_is_said_with_the_last_bytes(tus: Tus, stored: Stored) -> None:
    """Until then HEAD says that it is deferred, and no view shows one."""
    content = os.urandom(3 * MIB)
    path = begin(tus)
    upload_id = path.rpartition("/")[2]
    assert tus.patch(path, 0, content[:MIB]).headers["upload-offset"] == str(MIB)
    head = tus.head(path)
    assert (head.headers["upload-defer-length"], head.headers["upload-offset"]) == ("1", str(MIB))
    assert "upload-length" not in head.headers
    view, progress = tus.api.upload(upload_id), tus.api.progress(upload_id)
    assert (view["size"], view["chunk_count"], view["missing"], view["missing_chunks"]) == (None, None, [], [])
    assert (view["bytes_received"], progress["bytes_received"]) == (MIB, MIB)
    assert (progress["total_bytes"], progress["total_chunks"], progress["progress_percent"]) == (None, None, 0)
    assert tus.patch(path, MIB, content[MIB : 2 * MIB], {"Upload-Length": str(3 * MIB)}).status == 204
    head = tus.head(path)
    assert head.headers["upload-length"] == str(3 * MIB)
    assert "upload-defer-length" not in head.headers
    assert tus.api.upload(upload_id)["missing"] == [{"start": 2 * MIB, "end": 3 * MIB}]
    assert tus.patch(path, 2 * MIB, content[2 * MIB :]).status == 204
    assert stored("report.bin") == content


@pytest.mark.parametrize("content", [b"", b"hello"])
def test_the_length_may_come_after_the_last_bytes(tus: Tus, stored: Stored, content: bytes) -> None:
    """With a PATCH that brings none."""
    path = begin(tus)
    if content:
        assert tus.patch(path, 0, content).status == 204
    assert tus.patch(path, len(content), b"", {"Upload-Length": str(len(content))}).status == 204
    assert stored("report.bin") == content


def test_bytes_may_come_with_the_creation(tus: Tus, stored: Stored) -> None:
    """Of a length that is not known either."""
    fields = {**BYTES, **DEFERRED, "Upload-Metadata": metadata(filename="report.bin")}
    reply = tus.api.request("POST", ROOT, b"hello", fields)
    assert (reply.status, reply.headers["upload-offset"]) == (201, "5")
    tus.patch(urlsplit(reply.headers["location"]).path, 5, b"!", {"Upload-Length": "6"})
    assert stored("report.bin") == b"hello!"


def test_a_body_without_declared_length(tus: Tus, stored: Stored) -> None:
    """Chunked, as long as it likes."""
    content = os.urandom(300_000)
    path = begin(tus)
    pieces = iter([content[:1000], content[1000:]])
    tus.api.connection.request("PATCH", path, pieces, {**BYTES, "Upload-Offset": "0"}, encode_chunked=True)
    with tus.api.connection.getresponse() as response:
        assert response.status == 204
    assert tus.patch(path, len(content), b"", {"Upload-Length": str(len(content))}).status == 204
    assert stored("report.bin") == content


@pytest.mark.parametrize("second", ["4", "11"])
def test_a_length_that_was_said_stays(tus: Tus, second: str) -> None:
    """The same again is no mistake."""
    path = begin(tus)
    assert tus.patch(path, 0, b"hello", {"Upload-Length": "10"}).status == 204
    reply = tus.patch(path, 5, b"", {"Upload-Length": second})
    assert (reply.status, reply.code) == (400, "inconsistent-upload-length")
    assert tus.patch(path, 5, b"", {"Upload-Length": "10"}).status == 204
    assert tus.head(path).headers["upload-length"] == "10"


@pytest.mark.parametrize(
    ("length", "body", "status", "code"),
    [
        ("4", b"", 400, "inconsistent-upload-length"),
        ("7", b"abc", 413, "body-too-large"),
        (str(6 << 40), b"", 413, "file-too-large"),
        ("-1", b"", 400, "invalid-request"),
        ("x", b"", 400, "invalid-request"),
    ],
)
def test_a_length_that_cannot_be(tus: Tus, length: str, body: bytes, status: int, code: str) -> None:
    """Changes nothing."""
    path = begin(tus)
    assert tus.patch(path, 0, b"hello").status == 204
    reply = tus.patch(path, 5, body, {"Upload-Length": length})
    assert (reply.status, reply.code) == (status, code)
    assert tus.head(path).headers["upload-defer-length"] == "1"
    assert tus.position(path) == 5


@pytest.mark.parametrize(
    "fields", [{"Upload-Defer-Length": "0"}, {"Upload-Defer-Length": "1", "Upload-Length": "5"}, {}]
)
def test_creations_that_cannot_be(tus: Tus, fields: dict[str, str]) -> None:
    """One of the two fields, and 1 is its only value."""
    refusal(tus.api.request("POST", ROOT, headers={**VERSION, **fields}), 400, "invalid-request")
    assert tus.api.get("/api/v1/uploads")["uploads"] == []


def test_a_file_does_not_become_larger_than_files_may_be(start_product: Callable[..., Product], tmp_path: Path) -> None:
    """However it gets there."""
    product = start_product(tmp_path / "small", max_file_mb=1)
    with product.client() as api:
        tus = Tus(api)
        path = begin(tus)
        sock = tus.begin_patch(path, 0, MIB + 1, b"")
        assert sock.recv(100).startswith(b"HTTP/1.1 413")
        sock.close()
        assert tus.position(path) == 0


def test_room_grows_with_what_comes(start_product: Callable[..., Product], tmp_path: Path) -> None:
    """None is taken for what is not known; what comes is within the user's share; what is too much is given back."""
    product = start_product(tmp_path / "quota", user_quota_mb=8)
    with product.client() as api:
        tus = Tus(api)

        def reserved() -> int:
            return product.call(product.server.staging.space()).reserved_bytes

        path = begin(tus)
        assert reserved() == 0
        assert tus.patch(path, 0, bytes(3 * MIB)).status == 204
        assert reserved() == 3 * MIB
        refusal(tus.patch(path, 3 * MIB, bytes(6 * MIB)), 507, "user-quota")
        refusal(tus.patch(path, 3 * MIB, b"", {"Upload-Length": str(9 * MIB)}), 507, "user-quota")
        assert tus.position(path) == 3 * MIB
        assert tus.head(path).headers["upload-defer-length"] == "1"
        assert tus.patch(path, 3 * MIB, b"x", {"Upload-Length": str(8 * MIB)}).status == 204
        assert reserved() == 8 * MIB
        other = tus.create(1)
        refusal(other, 507, "user-quota")


def test_what_was_refused_behind_the_end_is_not_in_the_file(tus: Tus, stored: Stored) -> None:
    """Bytes with a wrong checksum are on the disk already; then the length turns out to be where they began."""
    path = begin(tus)
    assert tus.patch(path, 0, b"hello").status == 204
    refusal(tus.patch(path, 5, b"x" * 300_000, checksum("sha1", b"y")), 460, "checksum-mismatch")
    assert tus.patch(path, 5, b"", {"Upload-Length": "5"}).status == 204
    assert stored("report.bin") == b"hello"


def test_what_came_of_a_broken_request_is_kept(tus: Tus, stored: Stored, stands: Stands) -> None:
    """Together with the length that came with it."""
    content = os.urandom(MIB)
    path = begin(tus)
    tus.begin_patch(path, 0, MIB, content[:300_000], Upload_Length=str(MIB)).close()
    stands(path, 300_000)
    assert tus.head(path).headers["upload-length"] == str(MIB)
    assert tus.patch(path, 300_000, content[300_000:]).status == 204
    assert stored("report.bin") == content


def test_an_abandoned_one_expires(start_product: Callable[..., Product], tmp_path: Path) -> None:
    """And its room is free again."""
    product = start_product(tmp_path / "short")
    with product.client() as api:
        tus = Tus(api)
        path = begin(tus)
        assert tus.patch(path, 0, bytes(MIB)).status == 204
        assert "upload-expires" in tus.head(path).headers
        live = product.server.context.uploads.under_way(path.rpartition("/")[2])
        product.call(product.server.context.uploads.expire(live))
        assert tus.head(path).status == 410
        assert product.call(product.server.staging.space()).reserved_bytes == 0


@pytest.mark.slow
@pytest.mark.parametrize("mode", [{}, {"ENABLE_PARALLEL_UPLOADS": "False"}])
def test_it_goes_on_after_the_server_was_killed(
    start_server: Callable[..., ServerProcess], mode: dict[str, str]
) -> None:
    """Still of unknown length, with what it had told of."""
    content = os.urandom(20 * MIB)
    server = start_server(FOREBAY_AUTH="none", **mode)
    with ApiClient(("127.0.0.1", server.port)) as api:
        path = begin(Tus(api))
        assert Tus(api).patch(path, 0, content[: 17 * MIB]).status == 204
    server.kill()
    server.start()
    with ApiClient(("127.0.0.1", server.port)) as api:
        tus = Tus(api)
        assert tus.position(path) == 17 * MIB
        assert tus.head(path).headers["upload-defer-length"] == "1"
        last = tus.patch(path, 17 * MIB, content[17 * MIB :], {"Upload-Length": str(len(content))})
        assert last.status == 204
        deadline = time.monotonic() + 30
        while api.upload(path.rpartition("/")[2])["state"] != "completed" and time.monotonic() < deadline:
            time.sleep(0.05)
        assert (server.files / "report.bin").read_bytes() == content
