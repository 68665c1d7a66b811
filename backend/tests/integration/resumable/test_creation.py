"""Resumable uploads: POST."""

from __future__ import annotations

import hashlib
import os
import re
import socket
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from app.testing.api_client import refusal, sha256_field
from app.testing.product import Product

from .conftest import ROOT, Resumable, registered, spoken

MIB = 1 << 20
Stored = Callable[[str], bytes]
VERSIONS = [5, 6, 8]
LIFETIME = {5: "max-age", 6: "expires", 8: "max-age"}
NAMED = {"Content_Disposition": 'inline; filename="report.bin"'}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_file_in_one_request(resumable: Resumable, stored: Stored, version: int) -> None:
    """It is announced before it is read, and the final answer is what became of it."""
    content = os.urandom(3 * MIB)
    client = resumable.speaking(version)
    with client.raw() as raw:
        fields = {"Upload-Complete": "?1", "Content-Length": str(len(content)), "Content-Type": "image/png"}
        fields["Content-Disposition"] = "inline; filename=\"x.png\"; filename*=UTF-8''gr%C3%B6%C3%9Fe%20%E6%96%87.png"
        client.send_head(raw, "POST", ROOT, fields)
        first = raw.answer()
        assert (first.status, first.headers["upload-draft-interop-version"]) == (104, str(version))
        assert f"{LIFETIME[version]}=" in first.headers["upload-limit"]
        assert "max-size=" in first.headers["upload-limit"]
        raw.send(content)
        while (final := raw.answer()).status == 104:
            assert "location" not in final.headers
            assert 0 < int(final.headers["upload-offset"]) <= len(content)
    assert (final.status, final.headers["upload-complete"]) == (201, "?1")
    assert (final.headers["location"], final.headers["upload-offset"]) == (first.headers["location"], str(len(content)))
    assert stored("größe 文.png") == content
    view = resumable.api.upload(final.headers["location"].rpartition("/")[2])
    assert (view["state"], view["size"], view["media_type"]) == ("completed", len(content), "image/png")


@pytest.mark.parametrize("version", [None, 3, 4, 7, 9, "8.0", "?1", ""])
def test_no_interim_response_to_a_client_of_another_version(resumable: Resumable, version: object) -> None:
    """Nor to one that names none; the upload is begun all the same, and the final answer says where."""
    client = resumable.speaking(None)
    with client.raw() as raw:
        fields = {"Upload-Complete": "?0", "Content-Length": "4"}
        if version is not None:
            fields["Upload-Draft-Interop-Version"] = str(version)
        client.send_head(raw, "POST", ROOT, fields)
        raw.send(b"data")
        answer = raw.answer()
    assert (answer.status, answer.headers["upload-complete"], answer.headers["upload-offset"]) == (201, "?0", "4")
    assert "upload-draft-interop-version" not in answer.headers
    assert client.standing(urlsplit(answer.headers["location"]).path) == (4, "?0")


def test_no_interim_response_over_http_1_0(resumable: Resumable) -> None:
    """Its clients know none (RFC 9110 section 15.2)."""
    with resumable.raw() as raw:
        lines = "".join(f"{name}: {value}\r\n" for name, value in spoken(8).items())
        raw.send(f"POST {ROOT} HTTP/1.0\r\nHost: 127.0.0.1\r\n{lines}Upload-Complete: ?0\r\n\r\n".encode())
        assert raw.answer().status == 201


@pytest.mark.parametrize("version", VERSIONS)
def test_the_beginning_of_a_file(resumable: Resumable, stored: Stored, version: int) -> None:
    """201, incomplete, with the limits and the address, the same as in the interim response."""
    client = resumable.speaking(version)
    reply = client.create(b"begin", Upload_Length="9", **NAMED)
    assert (reply.status, reply.headers["upload-complete"], reply.headers["upload-offset"]) == (201, "?0", "5")
    assert "max-size=" in reply.headers["upload-limit"]
    assert [answer.headers["location"] for answer in client.interim] == [reply.headers["location"]]
    path = urlsplit(reply.headers["location"]).path
    assert client.head(path).headers["upload-length"] == "9"
    assert client.append(path, 5, b"ning", "?1").status == 201
    assert stored("report.bin") == b"beginning"


def test_an_address_before_any_content(resumable: Resumable) -> None:
    """Empty and incomplete: a careful upload creation."""
    path = resumable.begin()
    assert resumable.standing(path) == (0, "?0")


def test_an_empty_file(resumable: Resumable, stored: Stored) -> None:
    """Empty and complete."""
    reply = resumable.create(b"", complete="?1", **NAMED)
    assert (reply.status, reply.headers["upload-complete"], reply.json["size"]) == (201, "?1", 0)
    assert stored("report.bin") == b""


def test_a_request_that_knows_nothing_of_resuming(resumable: Resumable, product: Product, stored: Stored) -> None:
    """Stores a file in one request, small or not, with a length or without."""
    content = os.urandom(40 * MIB)
    client = resumable.speaking(None)
    fields = {"Content_Type": "text/plain", "Content_Disposition": 'attachment; filename="plain.txt"'}
    reply = client.create(content, complete=None, **fields)
    assert (reply.status, reply.json["state"]) == (201, "completed")
    assert reply.json["media_type"] == "text/plain"
    assert reply.headers["location"] == f"/api/v1/uploads/{reply.json['id']}"
    assert "upload-complete" not in reply.headers
    assert stored("plain.txt") == content
    assert client.head(f"{ROOT}/{reply.json['id']}").status == 404
    assert product.server.context.uploads.live == []


@pytest.mark.parametrize("value", ["true", "1", "?2", "?1, ?1", ""])
def test_a_field_that_is_none_is_ignored(resumable: Resumable, value: str) -> None:
    """What is no Boolean is no field (MUST), and this an ordinary request."""
    reply = resumable.create(b"x", complete=value, **NAMED)
    assert (reply.status, reply.json["state"]) == (201, "completed")
    assert "upload-complete" not in reply.headers


@pytest.mark.parametrize("value", ["-1", "x", "1.5", "3, 4", "1000000000000000"])
def test_a_length_that_is_none_is_ignored(resumable: Resumable, value: str) -> None:
    """Likewise: nobody has said the length then."""
    reply = resumable.create(Upload_Length=value)
    assert reply.status == 201
    assert "upload-length" not in resumable.head(urlsplit(reply.headers["location"]).path).headers


def test_two_lengths_are_refused(resumable: Resumable, product: Product) -> None:
    """Before anything is begun."""
    registered(resumable.create(b"12345", complete="?1", Upload_Length="6"), 400, "inconsistent-upload-length")
    assert product.server.context.uploads.live == []


def test_too_large_a_file_is_refused_with_the_limit(start_product: Callable[..., Product]) -> None:
    """413, with Upload-Limit; nothing is read."""
    product = start_product(max_file_mb=1)
    with product.client() as api:
        client = Resumable(api)
        for fields in ({"Upload_Length": str(MIB + 1)}, {"Upload_Length": "999999999999999"}):
            reply = refusal(client.create(**fields), 413, "file-too-large")
            assert f"max-size={MIB}" in reply.headers["upload-limit"]
            assert reply.headers["upload-complete"] == "?0"
        path = client.begin()
        reply = refusal(client.append(path, 0, b"x" * (MIB + 1)), 413)
        assert f"max-size={MIB}" in reply.headers["upload-limit"]
        assert client.standing(path) == (0, "?0")


def test_what_came_of_a_broken_creation_is_kept(
    resumable: Resumable, stored: Stored, stands: Callable[[str, int], None]
) -> None:
    """To the byte; the upload is not complete for that, and is gone on with at the address that was announced."""
    content = os.urandom(2 * MIB)
    with resumable.raw() as raw:
        fields = {
            "Upload-Complete": "?1",
            "Content-Length": str(len(content)),
            "Content-Disposition": "inline; filename=a",
        }
        resumable.send_head(raw, "POST", ROOT, fields)
        path = urlsplit(raw.answer().headers["location"]).path
        raw.send(content[:1_234_567])
        raw.sock.shutdown(socket.SHUT_WR)
        stands(path, 1_234_567)
    assert resumable.standing(path) == (1_234_567, "?0")
    assert resumable.head(path).headers["upload-length"] == str(len(content))
    reply = resumable.append(path, 1_234_567, content[1_234_567:], "?1")
    assert (reply.status, reply.headers["upload-complete"]) == (201, "?1")
    assert stored("a") == content


def test_what_nobody_can_go_on_with_is_not_kept(resumable: Resumable, product: Product) -> None:
    """The client was told of no address and has left."""
    client = resumable.speaking(None)
    uploads = product.server.context.uploads
    with client.raw() as raw:
        client.send_head(raw, "POST", ROOT, {"Upload-Complete": "?1", "Content-Length": "100"})
        raw.send(b"some")
        product.wait_for(lambda: bool(uploads.live))
    product.wait_for(lambda: not uploads.live)
    (upload,) = client.api.get("/api/v1/uploads")["uploads"]
    assert upload["state"] == "cancelled"


def test_a_client_that_waits_for_100_gets_it_after_104(resumable: Resumable) -> None:
    """The draft, section on status code 104: MUST NOT omit."""
    with resumable.raw() as raw:
        fields = {"Upload-Complete": "?0", "Content-Length": "4", "Expect": "100-continue"}
        resumable.send_head(raw, "POST", ROOT, fields)
        assert [raw.answer().status, raw.answer().status] == [104, 100]
        assert raw.send(b"data").answer().status == 201


def test_content_of_unknown_length(resumable: Resumable, stored: Stored) -> None:
    """Chunked and complete: the length is known with the last byte."""
    with resumable.raw() as raw:
        fields = {"Upload-Complete": "?1", "Transfer-Encoding": "chunked", "Content-Disposition": "inline; filename=c"}
        resumable.send_head(raw, "POST", ROOT, fields)
        assert raw.answer().status == 104
        raw.send(b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n")
        while (final := raw.answer()).status == 104:
            pass
    assert (final.status, final.headers["upload-offset"]) == (201, "11")
    assert stored("c") == b"hello world"


@pytest.mark.parametrize("name", ["../x", "a/b", "..", ".forebay", "n" * 256])
def test_a_name_that_no_file_may_have_is_refused(resumable: Resumable, name: str) -> None:
    """Metadata is data of a stranger: validated, and never a path."""
    refusal(resumable.create(Content_Disposition=f'inline; filename="{name}"'), 400, "invalid-name")


def test_without_a_name_it_gets_one(resumable: Resumable, stored: Stored) -> None:
    """Content-Disposition is optional."""
    assert resumable.create(b"1", complete="?1").status == 201
    assert stored("upload") == b"1"


def test_the_query_says_where_to(resumable: Resumable, product: Product) -> None:
    """As in `PUT /files`."""
    fields = {"Upload-Complete": "?1", "Content-Disposition": "inline; filename=f"}
    assert resumable.request("POST", f"{ROOT}?path=a/b&on_conflict=fail", b"1", fields).status == 201
    assert (product.files / "a" / "b" / "f").read_bytes() == b"1"
    reply = resumable.request("POST", f"{ROOT}?path=a/b&on_conflict=fail", b"2", fields)
    refusal(reply, 409)
    assert reply.headers["upload-complete"] == "?1"
    refusal(resumable.request("POST", f"{ROOT}?destination=nowhere", b""), 400)


def test_digests(resumable: Resumable, stored: Stored) -> None:
    """Of the content: else nothing of it is kept. Of the whole file: else it has failed, and the answer says so."""
    content = os.urandom(1000)
    right, wrong = sha256_field(content), sha256_field(b"other")
    reply = resumable.create(content, Upload_Length="2000", Content_Digest=wrong, **NAMED)
    refusal(reply, 422, "digest-mismatch")
    assert reply.headers["upload-complete"] == "?0"
    path = urlsplit(reply.headers["location"]).path
    assert resumable.standing(path) == (0, "?0")
    reply = resumable.create(content, complete="?1", Content_Digest=right, Repr_Digest=right, **NAMED)
    assert (reply.status, reply.headers["upload-complete"]) == (201, "?1")
    assert sha256_field(content) in reply.headers["repr-digest"]
    reply = resumable.create(content, complete="?1", Repr_Digest=wrong, **NAMED)
    refusal(reply, 422, "digest-mismatch")
    assert reply.headers["upload-complete"] == "?1"
    assert resumable.head(urlsplit(reply.headers["location"]).path).status == 404
    refusal(resumable.create(content, complete="?1", Repr_Digest="sha-256=:x:"), 400, "invalid-digest")
    assert hashlib.sha256(stored("report.bin")).digest() == hashlib.sha256(content).digest()


def test_no_two_uploads_have_one_address(resumable: Resumable) -> None:
    """It can't be guessed either, says nothing, and is not given again."""
    paths = [resumable.begin() for _ in range(20)]
    for path in paths[:10]:
        assert resumable.delete(path).status == 204
    paths += [resumable.begin() for _ in range(10)]
    assert len(set(paths)) == 30
    assert all(re.fullmatch(f"{ROOT}/[0-9a-f]{{32}}", path) for path in paths)


def test_a_client_may_leave_only_so_many_unfinished(start_product: Callable[..., Product]) -> None:
    """However slowly it goes on with them; the next one is refused."""
    product = start_product(max_pending_per_user=2)
    with product.client() as api:
        client = Resumable(api)
        paths = [client.begin(), client.begin()]
        reply = refusal(client.create(), 429, "too-many-pending")
        assert reply.headers["upload-complete"] == "?0"
        client.delete(paths[0])
        client.begin()
