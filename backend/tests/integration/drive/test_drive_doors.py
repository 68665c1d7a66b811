"""Files for Drive that come by other doors than chunks: the IETF's resumable uploads, forms, one request without a length."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from app.testing.api_client import refusal
from app.testing.drive_emulator import Rule, Status

from .conftest import Rig

MIB = 1 << 20
UNIT = 256 * 1024  # of what Drive takes


MEMORY: dict[str, Any] = {"staging": "memory", "memory_staging_mb": 32, "max_concurrent_uploads": 4}
BOTH = [pytest.param({}, id="parallel"), pytest.param({"enable_parallel_uploads": False}, id="sequential")]
RELAYED = [
    pytest.param(MEMORY, id="memory, parallel"),
    pytest.param({"enable_parallel_uploads": False, **MEMORY}, id="memory, sequential"),
]


@pytest.fixture(params=[*BOTH, *RELAYED])
def running(rig: Rig, request: pytest.FixtureRequest) -> Rig:
    """In both modes, with both stagings."""
    return rig.run(**request.param)


@pytest.mark.parametrize("running", BOTH, indirect=True)
def test_a_resumable_upload_of_unknown_length(running: Rig, content: bytes) -> None:
    """In pieces; Drive is given the size when the last one says it, and the answer is what Drive holds."""
    fields = {"Upload-Complete": "?0", "Content-Disposition": 'inline; filename="report.bin"'}
    reply = running.api.request("POST", "/api/v1/resumable", content[:MIB], fields)
    path = "/api/v1/resumable/" + reply.headers["location"].rpartition("/")[2]
    fields = {"Content-Type": "application/partial-upload"}
    for start, end, complete in ((MIB, 2 * MIB, "?0"), (2 * MIB, len(content), "?1")):
        said = {**fields, "Upload-Offset": str(start), "Upload-Complete": complete}
        reply = running.api.request("PATCH", path, content[start:end], said)
    assert (reply.status, reply.headers["upload-complete"]) == (201, "?1")
    running.assert_stored(content, reply.json)


def test_a_form(running: Rig, content: bytes) -> None:
    """Two files; both are there when it is answered."""
    other = os.urandom(300_000)
    parts = [
        b'--x\r\nContent-Disposition: form-data; name="f"; filename="%s"\r\n\r\n%s\r\n' % (name, data)
        for name, data in ((b"a.bin", content), (b"b.bin", other))
    ]
    body = b"".join(parts) + b"--x--\r\n"
    reply = running.api.request("POST", "/api/v1/forms", body, {"Content-Type": "multipart/form-data; boundary=x"})
    assert reply.status == 201
    assert {upload["state"] for upload in reply.json["uploads"]} == {"completed"}
    stored = {file.name: running.drive.content(file.id) for file in running.drive.files.values() if file.sha256}
    assert stored == {"a.bin": content, "b.bin": other}


@pytest.mark.parametrize("running", RELAYED, indirect=True)
@pytest.mark.parametrize("size", [0, 1, UNIT - 1, UNIT, UNIT + 1, 8 * MIB, 20 * MIB, 20 * MIB + 7])
def test_a_file_that_says_its_length_by_its_end(running: Rig, size: int) -> None:
    """It is on its way to Drive before that, also where all of it has gone there when nobody knew yet that it is all."""
    content = os.urandom(size)
    body = b'--x\r\nContent-Disposition: form-data; name="f"; filename="report.bin"\r\n\r\n%s\r\n--x--\r\n' % content
    reply = running.api.request("POST", "/api/v1/forms", body, {"Content-Type": "multipart/form-data; boundary=x"})
    assert reply.status == 201, reply.body
    (view,) = reply.json["uploads"]
    running.assert_stored(content, view)
    assert not running.drive.events.violations


@pytest.mark.parametrize("running", RELAYED, indirect=True)
def test_a_form_whose_session_drive_has_lost(running: Rig) -> None:
    """What it had is not here any more, and nobody sends it again: the client is told, and no file is made."""
    content, uploads = os.urandom(20 * MIB), running.product.server.context.uploads
    head = b'--x\r\nContent-Disposition: form-data; name="f"; filename="report.bin"\r\n\r\n'
    end = b"\r\n--x--\r\n"
    fields = {
        "Content-Type": "multipart/form-data; boundary=x",
        "Content-Length": str(len(head) + len(content) + len(end)),
    }
    connection = running.api.connection
    connection.putrequest("POST", "/api/v1/forms")
    for name, value in fields.items():
        connection.putheader(name, value)
    connection.endheaders(head + content[: 18 * MIB])
    staging = running.product.server.staging
    running.product.wait_for(lambda: any(staging.held_from(live.row.id) > 0 for live in uploads.live))
    assert running.drive.expire_sessions(410) == 1
    with suppress(OSError):
        connection.send(content[18 * MIB :] + end)
    answer = connection.getresponse()
    problem = json.loads(answer.read())
    assert (answer.status, problem["code"]) == (503, "room-lost")
    running.product.wait_for(lambda: not uploads.live and running.product.quiescent())
    assert not [file for file in running.drive.files.values() if file.sha256]


@pytest.mark.parametrize("running", RELAYED, indirect=True)
def test_a_client_that_leaves_in_the_middle_of_a_form(running: Rig) -> None:
    """Nothing is left of it, here or at Drive."""
    uploads, content = running.product.server.context.uploads, os.urandom(12 * MIB)
    head = b'--x\r\nContent-Disposition: form-data; name="f"; filename="report.bin"\r\n\r\n'
    with socket.create_connection(running.product.address, timeout=30) as sock:
        fields = f"Host: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\nContent-Length: {20 * MIB}\r\n"
        sock.sendall(f"POST /api/v1/forms HTTP/1.1\r\n{fields}\r\n".encode() + head + content)
        running.product.wait_for(lambda: any(live.bytes_transferred for live in uploads.live))
    running.product.wait_for(lambda: not uploads.live and running.product.quiescent())
    assert [session.state for session in running.drive.sessions] == ["cancelled"]
    assert not [file for file in running.drive.files.values() if file.sha256]


def test_a_file_from_a_pipe(running: Rig, content: bytes) -> None:
    """No length is said."""

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(content), 100_000):
            yield content[start : start + 100_000]

    connection = running.api.connection
    connection.request("PUT", "/api/v1/files/report.bin", pieces(), encode_chunked=True)
    answer = connection.getresponse()
    view = json.loads(answer.read())
    assert answer.status == 201
    running.assert_stored(content, view)


@pytest.mark.parametrize("how", ["declared", "form"])
def test_drive_may_have_trouble_for_a_moment_while_a_file_comes_at_once(running: Rig, content: bytes, how: str) -> None:
    """Who sends it can't come again: what came is kept, and sent when Drive takes it."""
    running.drive.script([Rule("upload.put", Status(503), times=3)])
    if how == "form":
        head = b'--x\r\nContent-Disposition: form-data; name="f"; filename="report.bin"\r\n\r\n'
        fields = {"Content-Type": "multipart/form-data; boundary=x"}
        reply = running.api.request("POST", "/api/v1/forms", head + content + b"\r\n--x--\r\n", fields)
        view = reply.json["uploads"][0]
    else:
        reply = running.api.request("PUT", "/api/v1/files/report.bin", content)
        view = reply.json
    assert reply.status in {201, 202}, reply.body
    running.assert_stored(content, running.ended(view["id"]))


@pytest.mark.parametrize("running", [*BOTH, *RELAYED], indirect=True)
def test_a_form_for_a_name_that_is_taken(running: Rig) -> None:
    """Refused as such, however early that is found."""
    content = os.urandom(9 * MIB)
    assert running.api.request("PUT", "/api/v1/files/report.bin", b"first").status == 201
    on_conflict = b'--x\r\nContent-Disposition: form-data; name="on_conflict"\r\n\r\nfail\r\n'
    head = b'--x\r\nContent-Disposition: form-data; name="f"; filename="report.bin"\r\n\r\n'
    fields = {"Content-Type": "multipart/form-data; boundary=x"}
    body = on_conflict + head + content + b"\r\n--x--\r\n"
    refusal(running.api.request("POST", "/api/v1/forms", body, fields), 409, "name-taken")
    running.product.wait_for(running.product.quiescent)
    assert [file.size for file in running.drive.files.values() if file.sha256] == [5]
