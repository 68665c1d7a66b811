"""tus, POST: creation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from app.testing.api_client import refusal
from app.testing.product import Product
from app.testing.tus_client import ROOT, VERSION, Tus, metadata

Stored = Callable[[str], bytes]


def test_an_empty_file_is_complete_at_once(tus: Tus, stored: Stored) -> None:
    """There is nothing to add."""
    path = tus.begin(0, "empty.bin")
    assert tus.position(path) == 0
    assert stored("empty.bin") == b""


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


def test_every_answer_says_the_version(tus: Tus) -> None:
    """Refusals too, but not what answers OPTIONS; one of another version is not processed."""
    path = tus.begin(5)
    other = {"Tus-Resumable": "0.2.2"}
    replies = [
        tus.create(1),
        tus.create(6 << 40),
        tus.head(path),
        tus.head(f"{ROOT}/none"),
        tus.patch(path, 0, b"he"),
        tus.patch(path, 7, b"x"),
        tus.api.request("GET", path),
        tus.patch(path, 2, b"l", other),
        tus.api.request("DELETE", path, headers=other),
        tus.api.request("HEAD", path, headers=other),
        tus.api.request("POST", ROOT, headers={**other, "Upload-Length": "1"}),
        tus.api.request("POST", ROOT, headers={"Upload-Length": "1"}),
    ]
    assert [reply.status for reply in replies] == [201, 413, 200, 404, 204, 409, 409, 412, 412, 412, 412, 412]
    assert {reply.headers["tus-resumable"] for reply in replies} == {"1.0.0"}
    assert {reply.headers.get("tus-version") for reply in replies if reply.status == 412} == {"1.0.0"}
    assert tus.position(path) == 2
    assert len(tus.api.get("/api/v1/uploads")["uploads"]) == 2
    tus.delete(path)


def test_a_header_cannot_be_smuggled_in_metadata(tus: Tus) -> None:
    """What the values decode to is never part of a header; what was sent is, and that can't break out of it."""
    name = "a\r\nSet-Cookie: b.bin"
    refusal(tus.create(1, Upload_Metadata=metadata(filename=name)), 400, "invalid-name")
    path = urlsplit(tus.create(1, b"x", Upload_Metadata=metadata(filename="a.bin", note=name)).headers["location"]).path
    reply = tus.head(path)
    assert reply.headers["upload-metadata"] == metadata(filename="a.bin", note=name)
    assert "set-cookie" not in reply.headers
