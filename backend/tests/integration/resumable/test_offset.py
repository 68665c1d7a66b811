"""Resumable uploads: HEAD and GET."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import app.services.recovery
from app.testing.api_client import ApiClient, refusal
from app.testing.product import Product
from app.testing.server_process import ServerProcess

from .conftest import PARTIAL, ROOT, Resumable

MIB = 1 << 20


@pytest.mark.parametrize("method", ["HEAD", "GET"])
@pytest.mark.parametrize("version", [None, 5, 6, 8])
def test_where_an_upload_stands(resumable: Resumable, version: int | None, method: str) -> None:
    """Offset, completeness, length, limits; never from a cache."""
    client = resumable.speaking(version)
    path = client.begin(10)
    client.append(path, 0, b"abc")
    reply = client.request(method, path)
    assert (reply.status, reply.body) == (204, b"")
    said = {
        name: reply.headers[name] for name in ("upload-offset", "upload-complete", "upload-length", "cache-control")
    }
    assert said == {"upload-offset": "3", "upload-complete": "?0", "upload-length": "10", "cache-control": "no-store"}
    limits = dict(member.split("=") for member in reply.headers["upload-limit"].split(", "))
    assert limits.keys() == {"max-size", "expires" if version == 6 else "max-age"}
    assert 0 < int(limits["expires" if version == 6 else "max-age"]) <= 7 * 24 * 3600


def test_a_length_that_nobody_has_said(resumable: Resumable) -> None:
    """Is not told; once said, it is."""
    path = resumable.begin()
    assert "upload-length" not in resumable.head(path).headers
    assert resumable.append(path, 0, b"abc", Upload_Length="10").status == 204
    assert resumable.head(path).headers["upload-length"] == "10"


def test_all_of_the_bytes_make_no_complete_upload(resumable: Resumable) -> None:
    """The client has to say so: "the offset could match the length, but the upload can still be incomplete"."""
    path = resumable.begin(3)
    resumable.append(path, 0, b"abc")
    assert resumable.standing(path) == (3, "?0")
    assert resumable.append(path, 3, b"", "?1").status == 201
    assert resumable.standing(path) == (3, "?1")


@pytest.mark.parametrize("field", ["Upload-Offset", "Upload-Complete", "Upload-Length"])
def test_fields_that_have_no_place_in_it(resumable: Resumable, field: str) -> None:
    """Refused as drafts -03 and -05 want it; ignored since."""
    path = resumable.begin(3)
    for version, status in ((5, 400), (6, 400), (8, 204)):
        assert resumable.speaking(version).request("HEAD", path, fields={field: "0"}).status == status


def test_it_takes_over_from_a_connection_that_hangs(resumable: Resumable, some_came: Callable[[str], None]) -> None:
    """At once, and the offset told is accepted: what the older one brought is counted, nothing comes after."""
    content = os.urandom(MIB)
    path = resumable.begin(len(content))
    with resumable.raw() as hanging:
        fields = {**PARTIAL, "Upload-Offset": "0", "Upload-Complete": "?1", "Content-Length": str(len(content))}
        resumable.send_head(hanging, "PATCH", path, fields)
        hanging.send(content[:400_000])
        some_came(path)
        offset, complete = resumable.standing(path)
        assert (0 < offset <= 400_000, complete) == (True, "?0")
        while (answer := hanging.answer()).status == 104:
            pass
        assert (answer.status, answer.headers["upload-complete"]) == (409, "?0")
    assert resumable.append(path, offset, content[offset:], "?1").status == 201


def test_what_was_not_begun_here_is_not_found(resumable: Resumable, api: ApiClient) -> None:
    """An upload in chunks, one of tus, none at all: the same answer."""
    native = api.create("a.bin", 10)["id"]
    for upload_id in (native, "0" * 32, "..%2f", "%00", "x"):
        assert resumable.head(f"{ROOT}/{upload_id}").status == 404
        refusal(resumable.append(f"{ROOT}/{upload_id}", 0, b"x"), 404, "not-found")
        refusal(resumable.delete(f"{ROOT}/{upload_id}"), 404, "not-found")


def test_it_belongs_to_its_owner(start_product: Callable[..., Product]) -> None:
    """Somebody else's is not found."""
    product = start_product(auth="none")
    with product.client(source="127.0.0.5") as mine, product.client(source="127.0.0.6") as yours:
        reply = mine.request("POST", ROOT, b"", {"Upload-Complete": "?0"})
        path = reply.headers["location"].partition("/api")[1] + reply.headers["location"].partition("/api")[2]
        assert mine.request("HEAD", path).status == 204
        for method in ("HEAD", "DELETE"):
            assert yours.request(method, path).status == 404
        assert (
            yours.request("PATCH", path, b"x", {**PARTIAL, "Upload-Offset": "0", "Upload-Complete": "?0"}).status == 404
        )
        assert mine.request("HEAD", path).headers["upload-offset"] == "0"


def test_after_a_power_cut_it_is_verified_before_anything_is_told(
    start_product: Callable[..., Product], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the disk lost ends the upload; one that is whole goes on."""
    content = os.urandom(3 * MIB)
    monkeypatch.setattr(app.services.recovery, "boot_id", lambda: "before")
    first = start_product()
    with first.client() as api:
        client = Resumable(api)
        kept, spoilt = client.begin(len(content), "kept.bin"), client.begin(len(content), "spoilt.bin")
        for path in (kept, spoilt):
            assert client.append(path, 0, content[:MIB]).status == 204
    first.__exit__()
    with (first.spool / spoilt.rpartition("/")[2]).open("r+b") as spool:
        spool.seek(MIB // 2)
        spool.write(bytes(1000))  # as blocks that were allocated and never written
    monkeypatch.setattr(app.services.recovery, "boot_id", lambda: "after")
    second = start_product()
    with second.client() as api:
        client = Resumable(api)
        assert client.head(spoilt).status == 404
        view = api.upload(spoilt.rpartition("/")[2])
        assert (view["state"], view["error"]["code"]) == ("failed", "room-lost")
        assert client.standing(kept) == (MIB, "?0")
        assert client.append(kept, MIB, content[MIB:], "?1").status == 201
    assert (second.files / "kept.bin").read_bytes() == content


def test_it_survives_a_kill_and_never_goes_back(start_server: Callable[..., ServerProcess], tmp_path: Path) -> None:
    """What was acknowledged is there; where its bytes are gone, the upload is, instead of a smaller offset."""
    content = os.urandom(3 * MIB)
    server = start_server()
    with ApiClient(("127.0.0.1", server.port)) as api:
        client = Resumable(api)
        kept, spoilt = client.begin(len(content), "kept.bin"), client.begin(len(content), "spoilt.bin")
        for path in (kept, spoilt):
            assert client.append(path, 0, content[:MIB]).status == 204
    server.kill()
    for file in (tmp_path / "var" / "spool").rglob("*"):
        if file.is_file() and spoilt.rpartition("/")[2] in str(file):
            file.unlink()
    server = start_server()
    with ApiClient(("127.0.0.1", server.port)) as api:
        client = Resumable(api)
        assert client.standing(kept) == (MIB, "?0")
        assert client.append(kept, MIB, content[MIB:], "?1").status == 201
        assert client.head(spoilt).status == 404
        view = api.upload(spoilt.rpartition("/")[2])
        assert (view["state"], view["error"]["code"]) == ("failed", "room-lost")
