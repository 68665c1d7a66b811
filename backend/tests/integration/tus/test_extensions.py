"""tus, extensions: creation, creation-with-upload, expiration, checksum, termination; who may, and from where."""

from __future__ import annotations

import os
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from app.testing.api_client import refusal
from app.testing.product import Product

from .conftest import BYTES, ROOT, VERSION, Tus, checksum, metadata

Stored = Callable[[str], bytes]


# -- creation --------------------------------------------------------------------------------------------------------


def test_an_empty_file_is_complete_at_once(tus: Tus, stored: Stored) -> None:
    """There is nothing to add."""
    path = tus.begin(0, "empty.bin")
    assert tus.position(path) == 0
    assert stored("empty.bin") == b""


def test_bytes_may_come_with_the_creation(tus: Tus, stored: Stored) -> None:
    """All of them, or the first ones."""
    whole = tus.create(5, b"hello", Upload_Metadata=metadata(filename="whole.bin"))
    assert (whole.status, whole.headers["upload-offset"]) == (201, "5")
    assert stored("whole.bin") == b"hello"
    first = tus.create(5, b"he", Upload_Metadata=metadata(filename="first.bin"))
    assert (first.status, first.headers["upload-offset"]) == (201, "2")
    tus.patch(urlsplit(first.headers["location"]).path, 2, b"llo")
    assert stored("first.bin") == b"hello"
    refusal(tus.create(2, b"hello"), 413, "body-too-large")


@pytest.mark.parametrize(
    ("field", "name"),
    [
        (None, "upload"),
        ("", "upload"),
        (metadata(filename="a.txt"), "a.txt"),
        (metadata(name="b.txt", type="text/plain"), "b.txt"),
        (metadata(filename="", name="c.txt"), "c.txt"),
        (metadata(filename=None), "upload"),
        (metadata(filename=b"\xff\xfe"), "upload"),
        (metadata(filename="d.txt", relativePath="null"), "d.txt"),
        (metadata(filename="e.txt", relativePath="x/y/e.txt"), "x/y/e.txt"),
        (f" {metadata(filename='f.txt')} , other", "f.txt"),
    ],
)
def test_what_real_clients_say_of_a_file(tus: Tus, stored: Stored, field: str | None, name: str) -> None:
    """No value, an empty one, none at all, Uppy's names; it comes back as it was sent."""
    reply = tus.create(1, b"x", **({} if field is None else {"Upload_Metadata": field}))
    assert reply.status == 201, reply.body
    head = tus.head(urlsplit(reply.headers["location"]).path)
    assert head.headers.get("upload-metadata", "") == (field or "").strip()
    assert stored(name) == b"x"


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Upload-Length": "x"}, 400, "invalid-request"),
        ({"Upload-Length": "-1"}, 400, "invalid-request"),
        ({"Upload-Length": str(6 << 40)}, 413, "file-too-large"),
        ({"Upload-Length": "1", "Upload-Metadata": "a YQ==,a YQ=="}, 400, "invalid-request"),
        ({"Upload-Length": "1", "Upload-Metadata": "a Y"}, 400, "invalid-request"),
        ({"Upload-Length": "1", "Upload-Metadata": ",,"}, 400, "invalid-request"),
        ({"Upload-Length": "1", "Upload-Metadata": metadata(filename="../../etc/passwd")}, 400, "invalid-name"),
        ({"Upload-Length": "1", "Upload-Metadata": metadata(filename="a", relativePath="../x/a")}, 400, "invalid-name"),
        (
            {"Upload-Length": "1", "Upload-Metadata": metadata(filename="a", destination="nowhere")},
            400,
            "invalid-request",
        ),
        ({"Upload-Length": "1", "Tus-Resumable": "2.0.0"}, 412, "unsupported-protocol-version"),
        ({}, 400, "invalid-request"),
    ],
)
def test_creations_that_cannot_be(tus: Tus, headers: dict[str, str], status: int, code: str) -> None:
    """Say why, and leave nothing behind."""
    refusal(tus.api.request("POST", ROOT, headers={**VERSION, **headers}), status, code)
    assert tus.api.get("/api/v1/uploads")["uploads"] == []


def test_the_address_is_whole_and_the_operators_where_it_is_set(
    start_product: Callable[..., Product], tmp_path: Path
) -> None:
    """Clients differ in what a relative one is relative to."""
    product = start_product(tmp_path / "named", public_url="https://up.example.org/")
    with product.client() as api:
        location = Tus(api).create(1).headers["location"]
    assert location.startswith(f"https://up.example.org{ROOT}/")


# -- expiration ------------------------------------------------------------------------------------------------------


def test_it_is_told_until_when_an_upload_is_kept(tus: Tus) -> None:
    """With creation, each PATCH that leaves it unfinished, and HEAD; not when there is nothing to expire."""
    created = tus.create(3)
    path = urlsplit(created.headers["location"]).path
    replies = [created, tus.patch(path, 0, b"a"), tus.head(path)]
    assert all(parsedate_to_datetime(reply.headers["upload-expires"]).tzinfo is not None for reply in replies)
    assert "upload-expires" not in tus.patch(path, 1, b"bc").headers


# -- checksum --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512", "md5"])
def test_bytes_with_a_checksum(tus: Tus, stored: Stored, algorithm: str) -> None:
    """Kept when it is theirs; all refused when it is not, and then they can be sent again."""
    first, second = os.urandom(300_000), os.urandom(5)
    path = tus.begin(len(first + second))
    refusal(tus.patch(path, 0, first, checksum(algorithm, second)), 460, "checksum-mismatch")
    assert tus.position(path) == 0
    assert tus.patch(path, 0, first, checksum(algorithm, first)).status == 204
    refusal(tus.patch(path, len(first), second, checksum(algorithm, first)), 460, "checksum-mismatch")
    assert tus.position(path) == len(first)
    assert tus.patch(path, len(first), second, checksum(algorithm, second)).status == 204
    assert stored("report.bin") == first + second


def test_crc32c_is_four_bytes_most_significant_first(tus: Tus, stored: Stored) -> None:
    """The check value of its definition (RFC 3720 appendix B.4 has more)."""
    path = tus.begin(9)
    assert tus.patch(path, 0, b"123456789", {"Upload-Checksum": "crc32c 4waSgw=="}).status == 204
    assert stored("report.bin") == b"123456789"


def test_nothing_is_kept_of_a_broken_request_with_a_checksum(
    tus: Tus, stored: Stored, some_came: Callable[[str], None]
) -> None:
    """What it was can't be known."""
    content = os.urandom(1 << 20)
    path = tus.begin(len(content))
    sock = tus.begin_patch(path, 0, len(content), content[:500_000], **checksum("sha1", content))
    some_came(path)
    sock.close()
    assert tus.position(path) == 0
    assert tus.patch(path, 0, content, checksum("sha1", content)).status == 204
    assert stored("report.bin") == content


# -- termination -----------------------------------------------------------------------------------------------------


def test_a_terminated_upload_is_gone(tus: Tus, product: Product) -> None:
    """Its room too, also while a request still brings bytes."""
    path = tus.begin(1 << 20)
    sock = tus.begin_patch(path, 0, 1 << 20, b"x" * 1000)
    assert tus.delete(path).status == 204
    sock.close()
    assert tus.head(path).status == 404
    refusal(tus.delete(path), 404, "not-found")
    product.wait_for(product.quiescent)
    assert not list(product.data_dir.glob("files/*"))


def test_a_finished_file_stays_where_it_is(tus: Tus, stored: Stored, completed: Callable[[str], None]) -> None:
    """Its upload is not found any more, as tus asks for; the file is not the upload."""
    path = tus.begin(5, "kept.bin")
    tus.patch(path, 0, b"hello")
    completed(path)
    assert tus.delete(path).status == 204
    assert tus.head(path).status == 404
    assert stored("kept.bin") == b"hello"


# -- who, and from where ---------------------------------------------------------------------------------------------


def test_another_users_upload_is_not_found(start_product: Callable[..., Product], tmp_path: Path) -> None:
    """Addresses are users here."""
    product = start_product(tmp_path / "shared", auth="none")
    with product.client(source="127.0.0.2") as ann, product.client(source="127.0.0.3") as bob:
        path = Tus(ann).begin(10)
        assert Tus(bob).head(path).status == 404
        refusal(Tus(bob).patch(path, 0, b"x"), 404, "not-found")
        refusal(Tus(bob).delete(path), 404, "not-found")
        assert Tus(ann).patch(path, 0, b"0123456789").status == 204


def test_pages_of_allowed_origins_may(start_product: Callable[..., Product], tmp_path: Path) -> None:
    """What browsers ask first, and what they let such a page read."""
    product = start_product(tmp_path / "cors", cors_origins=("https://app.example.org",))
    with product.client() as api:
        asked = {
            "Origin": "https://app.example.org",
            "Access-Control-Request-Method": "PATCH",
            "Access-Control-Request-Headers": "tus-resumable,upload-offset,content-type,upload-checksum",
        }
        preflight = api.request("OPTIONS", f"{ROOT}/abc", headers=asked)
        assert preflight.status == 200
        assert "PATCH" in preflight.headers["access-control-allow-methods"]
        created = api.request("POST", ROOT, b"x", {**BYTES, "Upload-Length": "1", "Origin": "https://app.example.org"})
        readable = created.headers["access-control-expose-headers"].lower()
        assert all(name in readable for name in ("location", "upload-offset", "tus-resumable", "upload-expires"))


def test_staging_in_memory_does_not_offer_it(start_product: Callable[..., Product], tmp_path: Path) -> None:
    """Bytes are given back in whole chunks there."""
    product = start_product(tmp_path / "memory", staging="memory")
    with product.client() as api:
        refusal(api.request("OPTIONS", ROOT), 404, "not-found")
