"""The rows of FAULTS.md's "Bad inputs" that reach the application: each its answer, none a 500, none a trace."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator

import pytest

from app.testing.api_client import ApiClient, refusal, sha256_field
from app.testing.product import Product

CHUNK = 262_144
NOWHERE = "0" * 32


@pytest.fixture(scope="module")
def product(
    start_module_product: Callable[..., Product], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Product]:
    """One for all: what is refused changes nothing. Whatever was sent, no request may have ended in an internal error."""
    product = start_module_product(max_file_mb=1, chunk_size_mb=1)
    yield product
    log = product.data_dir.parent / "server.log"
    events = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert [event for event in events if "exception" in event or event.get("status") == 500] == []


# -- JSON ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"{",
        b"{}",
        b'{"filename": "a", "size": NaN}',
        b'{"filename": "a", "size": Infinity}',
        b'{"filename": "a", "size": 1e400}',
        b'{"filename": "a", "size": 1e2}',
        b'{"filename": "a", "size": 1.0}',
        b'{"filename": "a", "size": true}',
        b'{"filename": "a", "size": "1"}',
        b'{"filename": "a", "size": null}',
        b'{"filename": "a", "size": -1}',
        b'{"filename": "a", "size": 9223372036854775808}',
        b'{"filename": "a", "size": ' + b"9" * 5000 + b"}",
        b'{"filename": "a", "size": 1, "size": 2}',
        b'{"filename": "a", "size": 1, "unknown": 1}',
        b'{"filename": "a\\ud800", "size": 1}',
        b'{"filename": "\xff", "size": 1}',
        b'{"filename": "a", "size": 1}\x00',
        b'{"filename": ["a"], "size": 1}',
        b'{"filename": "a", "size": 1, "path": "\\udfff"}',
        b'{"filename": "a", "size": 1, "completion": "perhaps"}',
        b'{"filename": "a", "size": 1, "on_conflict": "overwrite"}',
        b'{"filename": "a", "size": 1, "media_type": "text/html\\r\\nSet-Cookie: a=b"}',
        b'{"filename": "a", "size": 1, "media_type": "text"}',
        b'{"filename": "a", "size": 1, "chunk_size": 0}',
        b'{"filename": "a", "size": 1, "chunk_size": -1}',
        b'{"filename": "a", "size": 1, "chunk_size": 262143}',
        b'{"filename": "a", "size": 1, "chunk_size": 9223372036854775808}',
        b"[" * 50_000 + b"]" * 10_000,
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        "\ufeff{}".encode(),
        '{"filename": "a", "size": 1}'.encode("utf-16"),
    ],
    ids=lambda body: repr(body[:48]),
)
def test_json_that_can_not_be_used_is_400(api: ApiClient, body: bytes) -> None:
    """NaN, infinities, depth bombs, names given twice, lone surrogates, wrong types."""
    before = api.get("/api/v1/uploads")
    refusal(api.request("POST", "/api/v1/uploads", body), 400)
    assert api.get("/api/v1/uploads") == before


def test_a_json_body_is_bounded(api: ApiClient) -> None:
    """A megabyte of white space is no request."""
    refusal(api.request("POST", "/api/v1/uploads", b" " * (1 << 20)), 413, "body-too-large")


@pytest.mark.parametrize(
    "name",
    [
        "", ".", "..", "../a", "a/b", "/etc/passwd", "a\\b", "a\0b", "a\nb", "a\x1b[31m", "a\u202egpj.exe",
        "x" * 256, "é" * 128, " ", ".forebay", ".FOREBAY-x", "\u2028", "\x7f",
    ],
    ids=repr,
)  # fmt: skip
def test_names_that_can_not_be_stored_are_400(api: ApiClient, name: str) -> None:
    """Parents, slashes, control characters, what reorders text, too long, ours."""
    refusal(api.post("/api/v1/uploads", {"filename": name, "size": 1}), 400)


@pytest.mark.parametrize("path", ["/a", "..", "a/../b", "a//b", "a/", "./a", "C:/a", "a\\b", "a\0", "x/" * 2000 + "x"])
def test_folders_that_lead_elsewhere_are_400(api: ApiClient, product: Product, path: str) -> None:
    """Relative, plain, below the destination."""
    before = sorted(product.spool.iterdir())
    refusal(api.post("/api/v1/uploads", {"filename": "a", "size": 1, "path": path}), 400)
    assert sorted(product.spool.iterdir()) == before


def test_a_name_of_too_many_bytes_in_an_address_is_400(api: ApiClient) -> None:
    """The single-request way checks the same."""
    refusal(api.request("PUT", f"/api/v1/files/{'x' * 256}", b"x"), 400, "invalid-name")
    refusal(api.request("PUT", "/api/v1/files/..", b"x"), 400)
    refusal(api.request("PUT", "/api/v1/files/a%00b", b"x"), 400, "invalid-name")
    refusal(api.request("PUT", "/api/v1/files/a%0d%0ab", b"x"), 400, "invalid-name")
    refusal(api.request("PUT", "/api/v1/files/..%2f..%2fpasswd", b"x"), 404)
    refusal(api.request("PUT", "/api/v1/files/a?path=..", b"x"), 400, "invalid-name")
    refusal(api.request("PUT", "/api/v1/files/a?destination=http://10.0.0.1/", b"x"), 400, "invalid-request")
    refusal(api.request("PUT", "/api/v1/files/a?on_conflict=overwrite", b"x"), 400, "invalid-request")


def test_a_file_larger_than_allowed_is_413(api: ApiClient) -> None:
    """By its declared size, before room is taken; as a chunked upload, and in a single request."""
    reply = refusal(api.post("/api/v1/uploads", {"filename": "a", "size": (1 << 20) + 1}), 413, "file-too-large")
    assert reply.json["limit"] == 1 << 20
    refusal(api.request("PUT", "/api/v1/files/a", b"x" * ((1 << 20) + 1)), 413, "file-too-large")


# -- ids and chunk numbers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "upload_id",
    [NOWHERE, "x", "..%2f..%2fetc", "%00", "a%00b", "%ff", "%ed%a0%80", "é".encode().hex(), "x" * 4000, "%2e%2e", "*"],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/uploads/{}"),
        ("DELETE", "/api/v1/uploads/{}"),
        ("POST", "/api/v1/uploads/{}/complete"),
        ("PUT", "/api/v1/uploads/{}/chunks/0"),
        ("GET", "/api/v1/uploads/{}/events"),
        ("GET", "/api/v1/files/{}/content"),
        ("HEAD", "/api/v1/files/{}/content"),
        ("GET", "/api/v1/system/upload-progress/{}"),
        ("DELETE", "/api/v1/ops/uploads/{}"),
    ],
)
def test_an_id_that_is_none_is_404(api: ApiClient, method: str, path: str, upload_id: str) -> None:
    """Whatever it is made of."""
    reply = api.request(method, path.format(upload_id), b"x" if method == "PUT" else None)
    assert reply.status == 404
    if method != "HEAD":
        refusal(reply, 404, "not-found")


@pytest.mark.parametrize(
    "number",
    ["-1", "3", "9223372036854775808", "9" * 4000, "x", "1.0", "+1", "%201", "1_0", "0x1", "%D9%A3", "1e0", "", "1%00"],
)
def test_a_chunk_number_that_is_none_is_refused(api: ApiClient, number: str) -> None:
    """Out of range, negative, text, and what Python would take for a number."""
    view = api.create("a", 3 * CHUNK, chunk_size=CHUNK)
    refusal(api.put_chunk(view["id"], number, b"x" * CHUNK), 404 if number == "" else 400)
    assert api.upload(view["id"])["bytes_received"] == 0


@pytest.mark.parametrize(
    ("length", "status", "code"),
    [(CHUNK - 1, 400, "chunk-short"), (0, 400, "chunk-short"), (CHUNK + 1, 413, "chunk-long")],
)
def test_a_chunk_of_another_length_is_refused_unread(api: ApiClient, length: int, status: int, code: str) -> None:
    """Short and long; the upload goes on."""
    view = api.create("a", 2 * CHUNK, chunk_size=CHUNK)
    reply = refusal(api.put_chunk(view["id"], 0, b"x" * length), status, code)
    assert reply.json["chunk_length"] == CHUNK
    assert api.put_chunk(view["id"], 0, b"x" * CHUNK).status == 204


def test_a_chunk_of_unknown_length_is_bounded_too(api: ApiClient) -> None:
    """Chunked transfer coding: the right length is taken, one byte more is not, and one less is not."""
    view = api.create("a", 2 * CHUNK, chunk_size=CHUNK)
    path = f"/api/v1/uploads/{view['id']}/chunks/0"

    def send(body: bytes) -> tuple[int, str]:
        api.connection.request("PUT", path, iter([body]), encode_chunked=True, headers={"Transfer-Encoding": "chunked"})
        reply = api.connection.getresponse()
        text = reply.read()
        api.close()
        return reply.status, json.loads(text)["code"] if text else ""

    assert send(b"x" * (CHUNK + 1)) == (413, "body-too-large")
    assert send(b"x" * (CHUNK - 1)) == (400, "chunk-short")
    assert api.upload(view["id"])["bytes_received"] == 0
    assert send(b"x" * CHUNK) == (204, "")


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "identity, gzip", "x"])
def test_a_coded_body_is_refused_and_not_stored_as_it_is(api: ApiClient, coding: str) -> None:
    """Nobody would find out that what was stored is not what was meant."""
    view = api.create("a", 4)
    refusal(api.put_chunk(view["id"], 0, b"1234", {"Content-Encoding": coding}), 400, "invalid-request")
    refusal(api.request("PUT", "/api/v1/files/a", b"1234", {"Content-Encoding": coding}), 400, "invalid-request")
    assert api.put_chunk(view["id"], 0, b"1234", {"Content-Encoding": "identity"}).status == 204


def test_a_part_of_a_file_is_not_taken_for_the_file(api: ApiClient) -> None:
    """RFC 9110 section 14.5."""
    reply = api.request("PUT", "/api/v1/files/a", b"1234", {"Content-Range": "bytes 0-3/8"})
    refusal(reply, 400, "invalid-request")


# -- digests -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "status"),
    [
        (sha256_field(b"other"), 422),
        ("crc32c=:AAAAAA==:", 422),
        ("sha-256=:AAAA:", 400),
        ("sha-256=:not base64!:", 400),
        ("sha-256=AAAA", 400),
        ("sha-256=:" + "A" * 42 + "=:", 400),
        ("md5=:AAAAAAAAAAAAAAAAAAAAAA==:", 400),
        ("", 400),
        (",", 400),
        ("sha-256", 400),
        ("\xff", 400),
    ],
)
def test_digests_are_checked_or_refused(api: ApiClient, field: str, status: int) -> None:
    """A wrong one is 422 and nothing is recorded; one that can't be checked is 400, not ignored."""
    body = b"x" * CHUNK
    view = api.create("a", CHUNK, chunk_size=CHUNK)
    refusal(api.put_chunk(view["id"], 0, body, {"Content-Digest": field}), status)
    assert api.upload(view["id"])["bytes_received"] == 0
    refusal(api.request("PUT", "/api/v1/files/a", body, {"Content-Digest": field}), status)
    if status == 400:
        refusal(api.post("/api/v1/uploads", {"filename": "a", "size": 1, "digest": field}), 400)
    assert api.put_chunk(view["id"], 0, body, {"Content-Digest": sha256_field(body)}).status == 204


@pytest.mark.parametrize("key", ["", "a b", "é", "x" * 256])
def test_an_idempotency_key_is_plain(api: ApiClient, key: str) -> None:
    """1 to 255 visible ASCII characters."""
    reply = api.post(
        "/api/v1/uploads", {"filename": "a", "size": 1}, {"Idempotency-Key": key.encode().decode("latin-1")}
    )
    refusal(reply, 400, "invalid-request")


# -- addresses -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1/uploads/", 404),
        ("GET", "/api/v1//uploads", 404),
        ("GET", "/api/v1/uploads/%2e%2e/system/upload-status", 404),
        ("GET", "/.env", 404),
        ("PATCH", "/api/v1/uploads", 405),
        ("DELETE", "/api/v1/uploads", 405),
        ("PUT", "/api/v1/uploads/x", 405),
        ("TRACE", "/api/v1/uploads", 405),
        ("GET", "/api/v1/uploads?limit=x", 400),
        ("GET", "/api/v1/uploads?limit=99999999999999999999", 400),
        ("GET", "/api/v1/uploads?state=unknown", 400),
        ("GET", "/api/v1/uploads?cursor=%00", 400),
        ("GET", "/api/v1/ops/uploads?owner=%00", 200),
    ],
)
def test_addresses_that_are_none_are_said_to_be(api: ApiClient, method: str, path: str, status: int) -> None:
    """404, 405 and 400 as problem documents; no redirect to wherever `Host` points."""
    reply = api.request(method, path)
    assert reply.status == status
    if status != 200:
        refusal(reply, status)
    if status == 405:
        assert reply.headers["allow"]


def test_nothing_that_was_sent_wrongly_holds_anything(product: Product) -> None:
    """A hundred refusals of every kind, and all leases are back."""
    with product.client() as api:
        view = api.create("a", 2 * CHUNK, chunk_size=CHUNK)
        for _ in range(20):
            api.put_chunk(view["id"], 0, b"x" * (CHUNK + 1))
            api.put_chunk(view["id"], 9, b"x" * CHUNK)
            api.put_chunk(view["id"], 0, os.urandom(CHUNK), {"Content-Digest": sha256_field(b"")})
            api.put_chunk(NOWHERE, 0, b"x" * CHUNK)
            api.request("POST", "/api/v1/uploads", b"[")
    product.wait_for(product.quiescent)
    assert product.server.pool.stats.slabs_leased == 0
