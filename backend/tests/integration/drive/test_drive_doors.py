"""Files for Drive that come by other doors than chunks: the IETF's resumable uploads, forms, one request without a length."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest

from .conftest import Rig

MIB = 1 << 20


@pytest.fixture(params=[True, False], ids=["parallel", "sequential"])
def running(rig: Rig, request: pytest.FixtureRequest) -> Rig:
    """In both modes."""
    return rig.run(enable_parallel_uploads=request.param)


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
