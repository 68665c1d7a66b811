"""Resumable uploads: PATCH."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from app.core.tokens import new_token
from app.testing.api_client import refusal, sha256_field
from app.testing.product import Product

from .conftest import PARTIAL, ROOT, Resumable, registered

MIB = 1 << 20
Stored = Callable[[str], bytes]
VERSIONS = [5, 6, 8]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_file_in_several_requests(resumable: Resumable, stored: Stored, version: int) -> None:
    """Each goes on where the one before ended; the last one says that it is, and is answered with what became of it."""
    content = os.urandom(2 * MIB + 17)
    client = resumable.speaking(version)
    path = client.begin()
    for start in range(0, 2 * MIB, 700_001):
        piece = content[start : start + 700_001]
        last = start + 700_001 >= len(content)
        reply = client.append(path, start, piece, "?1" if last else "?0")
        expected = 201 if last or version < 8 else 204
        assert (reply.status, reply.headers["upload-complete"]) == (expected, "?1" if last else "?0")
        assert reply.headers["upload-offset"] == str(start + len(piece))
        assert all(b"location" not in answer.headers for answer in client.interim)
    assert reply.json["state"] == "completed"
    assert stored("report.bin") == content
    assert client.standing(path) == (len(content), "?1")
    assert sha256_field(content) in reply.headers["repr-digest"]


def test_progress_is_told(resumable: Resumable) -> None:
    """Interim responses with the offset of what is kept, never less than before, and without an address."""
    content = os.urandom(40 * MIB)
    path = resumable.begin(len(content))
    with resumable.raw() as raw:
        fields = {**PARTIAL, "Upload-Offset": "0", "Upload-Complete": "?1", "Content-Length": str(len(content))}
        resumable.send_head(raw, "PATCH", path, fields)
        raw.send(content[: 20 * MIB])
        interim = raw.answer()
        assert (interim.status, interim.headers["upload-draft-interop-version"]) == (104, "8")
        assert interim.headers.keys() == {"upload-draft-interop-version", "upload-offset"}
        told = int(interim.headers["upload-offset"])
        assert 0 < told <= 20 * MIB
        raw.send(content[20 * MIB :])
        while (answer := raw.answer()).status == 104:
            assert int(answer.headers["upload-offset"]) > told
            told = int(answer.headers["upload-offset"])
        assert (answer.status, answer.headers["upload-offset"]) == (201, str(len(content)))


def test_progress_is_told_to_who_is_slow(resumable: Resumable) -> None:
    """As long as bytes come, and not only when a chunk of 16 MiB has."""
    length = 16 * MIB
    path = resumable.begin(length)
    with resumable.raw() as raw:
        fields = {**PARTIAL, "Upload-Offset": "0", "Upload-Complete": "?1", "Content-Length": str(length)}
        resumable.send_head(raw, "PATCH", path, fields)
        sent = 0
        while not select.select([raw.sock], [], [], 0.01)[0] and sent < 12 * MIB:
            raw.send(bytes(MIB // 16))
            sent += MIB // 16
        interim = raw.answer()
        assert interim.status == 104
        assert 0 < int(interim.headers["upload-offset"]) <= sent


def test_no_progress_for_a_client_of_another_version(resumable: Resumable) -> None:
    """It would take the interim response for something else."""
    client = resumable.speaking(7)
    path = client.begin()
    assert client.append(path, 0, os.urandom(6 * MIB)).status == 204
    assert client.interim == []


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("offset", [0, 99, 101, 999_999_999_999_999])
def test_another_offset_changes_nothing(resumable: Resumable, version: int, offset: int) -> None:
    """409 with where it stands, as field and in the problem."""
    client = resumable.speaking(version)
    path = client.begin(200)
    client.append(path, 0, b"x" * 100)
    reply = registered(client.append(path, offset, b"y" * 10), 409, "mismatching-upload-offset")
    assert (reply.json["expected-offset"], reply.json["provided-offset"]) == (100, offset)
    assert reply.headers["upload-offset"] == "100"
    assert client.standing(path) == (100, "?0")


@pytest.mark.parametrize("offset", ["-1", "x", "1.5", "1, 1", "", "9999999999999999"])
def test_an_offset_that_is_none(resumable: Resumable, offset: str) -> None:
    """400: the field is ignored, and without it nobody knows where the content belongs."""
    path = resumable.begin(200)
    fields = {**PARTIAL, "Upload-Offset": offset, "Upload-Complete": "?0"}
    refusal(resumable.request("PATCH", path, b"x", fields), 400, "invalid-request")
    assert resumable.standing(path) == (0, "?0")


def test_one_that_does_not_say_whether_it_is_the_end(resumable: Resumable, stored: Stored) -> None:
    """400; for older clients it is."""
    path = resumable.begin()
    refusal(resumable.append(path, 0, b"x", None), 400, "invalid-request")
    assert resumable.speaking(6).append(path, 0, b"abc", None).status == 201
    assert stored("report.bin") == b"abc"


@pytest.mark.parametrize("media_type", ["application/octet-stream", "text/plain", ""])
def test_another_media_type(resumable: Resumable, media_type: str) -> None:
    """415, since there were media types in the draft."""
    path = resumable.begin(3)
    for version in (6, 8):
        refusal(resumable.speaking(version).append(path, 0, b"abc", Content_Type=media_type), 415)
    assert resumable.speaking(5).append(path, 0, b"abc", Content_Type=media_type).status == 201


def test_a_content_coding_is_refused(resumable: Resumable) -> None:
    """What is stored is what came; nothing is decoded, and nothing pretends to be."""
    path = resumable.begin(3)
    refusal(resumable.append(path, 0, b"abc", Content_Encoding="gzip"), 400, "invalid-request")
    refusal(resumable.create(b"abc", Content_Encoding="gzip"), 400, "invalid-request")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_complete_upload_takes_nothing_more(resumable: Resumable, version: int, stored: Stored) -> None:
    """Content would be more than its length; without any, it says what there is to say."""
    client = resumable.speaking(version)
    path = client.begin(3)
    client.append(path, 0, b"abc", "?1")
    more = "inconsistent-upload-length" if version == 8 else "completed-upload"
    for complete in ("?0", "?1"):
        registered(client.append(path, 3, b"d", complete), 400, more)
        registered(client.append(path, 3, b"", complete), 400, "completed-upload")
        registered(client.append(path, 2, b"c", complete), 409, "mismatching-upload-offset")
    assert stored("report.bin") == b"abc"


@pytest.mark.parametrize("version", [6, 8])
def test_lengths_that_differ(resumable: Resumable, version: int) -> None:
    """400; nothing is added, and the upload goes on."""
    resumable = resumable.speaking(version)
    path = resumable.begin(10)
    name = "inconsistent-upload-length"
    registered(resumable.append(path, 0, b"abc", Upload_Length="11"), 400, name)
    registered(resumable.append(path, 0, b"abc", "?1"), 400, name)
    registered(resumable.append(path, 0, b"abc", "?1", Upload_Length="10"), 400, name)
    registered(resumable.append(path, 0, b"x" * 11), 400, name)
    assert resumable.standing(path) == (0, "?0")
    assert resumable.append(path, 0, b"abc", Upload_Length="10").status in {201, 204}
    registered(resumable.append(path, 3, b"", "?1"), 400, name)
    assert resumable.standing(path) == (3, "?0")


def test_less_than_the_length_is_not_the_whole(resumable: Resumable) -> None:
    """Said to be the end, without a length: what came is kept, and the upload is not complete."""
    path = resumable.begin(10)
    with resumable.raw() as raw:
        fields = {**PARTIAL, "Upload-Offset": "0", "Upload-Complete": "?1", "Transfer-Encoding": "chunked"}
        resumable.send_head(raw, "PATCH", path, fields)
        raw.send(b"3\r\nabc\r\n0\r\n\r\n")
        answer = raw.answer()
    assert (answer.status, answer.headers["upload-complete"], answer.headers["upload-offset"]) == (400, "?0", "3")
    assert resumable.standing(path) == (3, "?0")


@pytest.mark.parametrize("version", VERSIONS)
def test_more_than_the_length_without_a_content_length(resumable: Resumable, version: int) -> None:
    """Refused when it comes; and that was the upload's end, in the newest iteration."""
    client = resumable.speaking(version)
    path = client.begin(10)
    client.append(path, 0, b"abc")
    with client.raw() as raw:
        fields = {**PARTIAL, "Upload-Offset": "3", "Upload-Complete": "?0", "Transfer-Encoding": "chunked"}
        client.send_head(raw, "PATCH", path, fields)
        raw.send(b"8\r\n12345678\r\n0\r\n\r\n")
        answer = raw.answer()
    assert (answer.status, answer.headers["upload-complete"]) == (400, "?0")
    if version == 8:
        assert client.head(path).status == 404
    else:
        assert client.standing(path) == (3, "?0")


def test_the_length_is_known_by_the_last_request(resumable: Resumable, product: Product) -> None:
    """Its offset and Content-Length together: recorded before its content comes, and kept when it breaks off."""
    path = resumable.begin()
    resumable.append(path, 0, b"abc")
    with resumable.raw() as raw:
        fields = {**PARTIAL, "Upload-Offset": "3", "Upload-Complete": "?1", "Content-Length": "7"}
        resumable.send_head(raw, "PATCH", path, fields)
        raw.send(b"1")
        upload_id = path.rpartition("/")[2]
        product.wait_for(lambda: not product.server.context.uploads.under_way(upload_id).row.length_deferred)
    assert resumable.head(path).headers["upload-length"] == "10"


def test_content_digests(resumable: Resumable, stored: Stored) -> None:
    """All of the request, or nothing."""
    path = resumable.begin(6)
    refusal(resumable.append(path, 0, b"abc", Content_Digest=sha256_field(b"abd")), 422, "digest-mismatch")
    refusal(resumable.append(path, 0, b"abc", Content_Digest="sha-256=abc"), 400, "invalid-digest")
    assert resumable.standing(path) == (0, "?0")
    assert resumable.append(path, 0, b"abc", Content_Digest=sha256_field(b"abc")).status == 204
    refusal(resumable.append(path, 3, b"def", "?1", Content_Digest="crc32c=:AAAAAA==:"), 422, "digest-mismatch")
    assert resumable.append(path, 3, b"def", "?1", Content_Digest=sha256_field(b"def")).status == 201
    assert stored("report.bin") == b"abcdef"


def test_what_came_of_a_broken_request_is_kept(
    resumable: Resumable, stored: Stored, stands: Callable[[str, int], None]
) -> None:
    """To the byte, and the upload is not complete for that."""
    content = os.urandom(2 * MIB)
    path = resumable.begin(len(content))
    with resumable.raw() as raw:
        fields = {**PARTIAL, "Upload-Offset": "0", "Upload-Complete": "?1", "Content-Length": str(len(content))}
        resumable.send_head(raw, "PATCH", path, fields)
        raw.send(content[:1_234_567])
        raw.sock.shutdown(socket.SHUT_WR)
        stands(path, 1_234_567)
    assert resumable.standing(path) == (1_234_567, "?0")
    assert resumable.append(path, 1_234_567, content[1_234_567:], "?1").status == 201
    assert stored("report.bin") == content


def test_who_may_no_longer_upload_completes_nothing(start_product: Callable[..., Product]) -> None:
    """Every request is asked for its token: also the last one."""
    product = start_product(auth="tokens")
    secret, digest = new_token()
    repository = product.server.repository
    record = product.call(repository.add_token("ann", digest, label="", operator=False, expires_at=None))
    fields = {**PARTIAL, "Authorization": f"Bearer {secret}", "Upload-Offset": "3", "Upload-Complete": "?1"}
    with product.client(token=secret) as api:
        reply = api.request("POST", ROOT, b"abc", {"Upload-Complete": "?0"})
        path = urlsplit(reply.headers["location"]).path
        product.call(repository.revoke_token(record.id))
        product.server.context.identity._known.clear()  # what five seconds do
        refusal(api.request("PATCH", path, b"def", fields), 401, "unauthenticated")
    assert not list(product.files.glob("[!.]*"))


def test_the_newer_request_ends_the_older(
    resumable: Resumable, stored: Stored, some_came: Callable[[str], None]
) -> None:
    """And is told where the upload stands, when it begins elsewhere."""
    content = os.urandom(MIB)
    path = resumable.begin(len(content))
    with resumable.raw() as older:
        fields = {**PARTIAL, "Upload-Offset": "0", "Upload-Complete": "?1", "Content-Length": str(len(content))}
        resumable.send_head(older, "PATCH", path, fields)
        older.send(content[:400_000])
        some_came(path)
        reply = registered(resumable.append(path, 0, content, "?1"), 409, "mismatching-upload-offset")
        offset = reply.json["expected-offset"]
        assert 0 < offset <= 400_000
        assert resumable.append(path, offset, content[offset:], "?1").status == 201
    assert stored("report.bin") == content


def test_other_doors_stay_shut(resumable: Resumable) -> None:
    """Chunks would leave gaps; its own address in the list of uploads shows it, and can cancel it."""
    path = resumable.begin(10)
    upload_id = path.rpartition("/")[2]
    refusal(resumable.api.put_chunk(upload_id, 0, b"x" * 10), 409, "state-conflict")
    assert resumable.api.upload(upload_id)["filename"] == "report.bin"
    assert resumable.api.request("HEAD", f"/api/v1/tus/{upload_id}", headers={"Tus-Resumable": "1.0.0"}).status == 404
    assert resumable.api.cancel(upload_id).status == 204
    assert resumable.head(path).status == 404
