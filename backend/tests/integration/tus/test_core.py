"""tus, core protocol: HEAD, PATCH, OPTIONS."""

from __future__ import annotations

import os
import random
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.testing.api_client import ApiClient, refusal
from app.testing.product import Product
from app.testing.server_process import ServerProcess

from .conftest import BYTES, ROOT, VERSION, Tus, metadata

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


def test_content_can_be_read_back(tus: Tus, completed: Waits) -> None:
    """Under the upload's own address, ranges too."""
    path = tus.begin(5, "five.bin")
    tus.patch(path, 0, b"hello")
    completed(path)
    assert tus.api.request("GET", path).body == b"hello"
    assert tus.api.request("GET", path, headers={"Range": "bytes=1-2"}).body == b"el"


def test_what_came_of_a_broken_request_is_kept(tus: Tus, stored: Stored, stands: Callable[[str, int], None]) -> None:
    """To the byte, and it is not sent again."""
    content = os.urandom(2 * MIB)
    path = tus.begin(len(content))
    tus.begin_patch(path, 0, len(content), content[:1_234_567]).close()
    stands(path, 1_234_567)
    assert tus.position(path) == 1_234_567
    assert tus.patch(path, 1_234_567, content[1_234_567:]).status == 204
    assert stored("report.bin") == content


def test_after_a_reset_it_stands_where_the_server_had_come(
    tus: Tus, stored: Stored, some_came: Waits, nobody_sends: Waits
) -> None:
    """What the kernel had not given out is lost with the connection, and not told of."""
    content = os.urandom(2 * MIB)
    path = tus.begin(len(content))
    sock = tus.begin_patch(path, 0, len(content), content[:1_234_567])
    some_came(path)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
    nobody_sends(path)
    position = tus.position(path)
    assert 0 < position <= 1_234_567
    assert tus.patch(path, position, content[position:]).status == 204
    assert stored("report.bin") == content


def test_a_resume_takes_over_from_a_connection_that_hangs(tus: Tus, stored: Stored, some_came: Waits) -> None:
    """At once: HEAD ends it, counts what it has brought, and the file goes on over the new one."""
    content = os.urandom(MIB)
    path = tus.begin(len(content))
    hanging = tus.begin_patch(path, 0, len(content), content[:400_000])
    some_came(path)
    position = tus.position(path)
    assert 0 < position <= 400_000
    assert hanging.recv(65536).startswith(b"HTTP/1.1 409")  # it has ended before HEAD was answered
    hanging.close()
    assert tus.patch(path, position, content[position:]).status == 204
    assert stored("report.bin") == content


def test_two_patches_at_once_one_ends_the_other(tus: Tus, stored: Stored, some_came: Waits) -> None:
    """The newer one is told where the upload stands when it begins elsewhere."""
    content = os.urandom(MIB)
    path = tus.begin(len(content))
    older = tus.begin_patch(path, 0, len(content), content[:300_000])
    some_came(path)
    position = refusal(tus.patch(path, 0, content), 409, "offset-conflict").json["position"]
    assert 0 < position <= 300_000
    assert tus.patch(path, position, content[position:]).status == 204
    older.close()
    assert stored("report.bin") == content


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


def test_what_is_not_there_is_not_found(tus: Tus, api: ApiClient) -> None:
    """An id of nobody's, and an upload that was not begun with tus."""
    other = api.create("native.bin", 3)["id"]
    for upload_id in ("0" * 32, "nonsense", other):
        assert tus.head(f"{ROOT}/{upload_id}").status == 404
        refusal(tus.patch(f"{ROOT}/{upload_id}", 0, b"x"), 404, "not-found")
        refusal(tus.delete(f"{ROOT}/{upload_id}"), 404, "not-found")
    assert "upload-offset" not in tus.head(f"{ROOT}/{other}").headers


def test_an_upload_of_tus_takes_no_chunks(tus: Tus) -> None:
    """It would leave a gap that tus can't tell of."""
    path = tus.begin(10)
    refusal(tus.api.put_chunk(path.rpartition("/")[2], 0, b"0123456789"), 409, "state-conflict")


def test_options_tell_what_can_be_done(tus: Tus) -> None:
    """Without a version, at both kinds of address."""
    for path in (ROOT, f"{ROOT}/", f"{ROOT}/abc"):
        reply = tus.api.request("OPTIONS", path)
        assert reply.status == 204
        assert reply.headers["tus-version"] == "1.0.0"
        assert set(reply.headers["tus-extension"].split(",")) == {
            "creation", "creation-with-upload", "creation-defer-length", "expiration", "checksum", "termination",
            "concatenation", "concatenation-unfinished", "checksum-trailer",
        }  # fmt: skip
        assert int(reply.headers["tus-max-size"]) > 1 << 40
        assert "tus-resumable" not in reply.headers


def test_methods_by_another_name(tus: Tus, stored: Stored) -> None:
    """For those who can only POST."""
    path = tus.begin(5)
    override = {**BYTES, "Upload-Offset": "0", "X-HTTP-Method-Override": "PATCH"}
    assert tus.api.request("POST", path, b"hello", override).headers["upload-offset"] == "5"
    assert stored("report.bin") == b"hello"
    refusal(tus.api.request("POST", path, b"", VERSION), 400, "invalid-request")
    assert tus.api.request("POST", path, b"", {**VERSION, "X-HTTP-Method-Override": "DELETE"}).status == 204
    assert tus.head(path).status == 404


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, 300_000), max_size=6), seed=st.integers(0, 1000))
def test_offsets_never_go_back(tus: Tus, product: Product, cuts: list[int], seed: int) -> None:
    """Whatever is cut where: each answer is at least the one before, at most what was sent, and in the end it is the file.

    A request that was cut may be seen after those that came later; they are told where the upload stands now.
    """
    content = random.Random(seed).randbytes(400_000)
    name = f"{os.urandom(8).hex()}.bin"
    path, position, sent = tus.begin(len(content), name), 0, 0
    for cut in cuts:
        if position == len(content):
            break
        piece = content[position : position + cut]
        tus.begin_patch(path, position, len(content) - position, piece).close()
        sent = max(sent, position + len(piece))
        told = tus.position(path)
        assert position <= told <= sent
        position = told
    while tus.patch(path, position, content[position:]).status == 409:
        told = tus.position(path)
        assert position <= told
        position = told
    file = product.data_dir / "files" / name
    product.wait_for(file.exists)
    assert file.read_bytes() == content


@pytest.mark.slow
@pytest.mark.parametrize("mode", [{}, {"ENABLE_PARALLEL_UPLOADS": "False"}, {"FOREBAY_DURABILITY": "power"}])
def test_it_goes_on_after_the_server_was_killed(tmp_path: Path, mode: dict[str, str]) -> None:
    """With what it had told of; a piece of 16 MiB at most is sent again."""
    content = os.urandom(40 * MIB)
    with ServerProcess(tmp_path, {"FOREBAY_AUTH": "none", **mode}) as server:
        with ApiClient(("127.0.0.1", server.port)) as api:
            tus = Tus(api)
            path = tus.begin(len(content))
            sock = tus.begin_patch(path, 0, len(content), content[: 36 * MIB])
            deadline = time.monotonic() + 30
            upload_id = path.rpartition("/")[2]
            while api.upload(upload_id)["bytes_received"] < 16 * MIB and time.monotonic() < deadline:
                pass
            server.kill()
            sock.close()
        server.start()
        with ApiClient(("127.0.0.1", server.port)) as api:
            tus = Tus(api)
            position = tus.position(path)
            assert 4 * MIB <= position <= 36 * MIB
            assert tus.patch(path, position, content[position:]).status == 204
            deadline = time.monotonic() + 30
            while api.upload(upload_id)["state"] != "completed" and time.monotonic() < deadline:
                time.sleep(0.05)
            assert (server.files / "report.bin").read_bytes() == content
