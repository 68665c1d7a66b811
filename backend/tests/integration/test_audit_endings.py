"""What an audit found: answers that never came, digests that were half read, repeats that were refused."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.core.errors import DestinationUnavailable
from app.destinations.disk.destination import DiskDestination
from app.services import uploads
from app.testing.api_client import ApiClient, refusal, sha256_field
from app.testing.product import Product

Start = Callable[..., Product]
CHUNK = 256 * 1024


def test_a_digest_in_several_lines_is_one_field(api: ApiClient) -> None:
    """RFC 9110 section 5.3: none of them is passed over."""
    content = os.urandom(1000)
    right, wrong = sha256_field(content), "crc32c=:AAAAAA==:"
    unknown = "sha-512=:AAAA:"

    def put(path: str, *lines: str) -> int:
        connection = api.connection
        connection.putrequest("PUT", path)
        for line in lines:
            connection.putheader("Content-Digest", line)
        connection.putheader("Content-Length", str(len(content)))
        connection.endheaders(content)
        response = connection.getresponse()
        response.read()
        return response.status

    upload = api.create("a.bin", len(content))["id"]
    for path in ("/api/v1/files/b.bin", f"/api/v1/uploads/{upload}/chunks/0"):
        assert put(path, right, wrong) == 422
        assert put(path, wrong, right) == 422
        assert put(path, unknown, right) in {201, 204}


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """The directory can't be reached while this holds something; an answer does not wait for long."""
    monkeypatch.setattr(uploads, "ANSWER_S", 0.3)
    down, take_over = [True], DiskDestination.take_over

    async def taking_over(*arguments: Any) -> Any:
        if down:
            raise DestinationUnavailable
        return await take_over(*arguments)

    monkeypatch.setattr(DiskDestination, "take_over", taking_over)
    return down


def test_nobody_waits_for_ever_for_a_destination(start_product: Start, tmp_path: Path, unreachable: list[bool]) -> None:
    """202: the bytes are kept and go there by themselves, so the file need not be sent again."""
    product = start_product(tmp_path / "product")
    with product.client() as api:
        small = api.request("PUT", "/api/v1/files/small.bin", b"small", {"Idempotency-Key": "k"})
        assert (small.status, small.json["state"]) == (202, "transferring")
        assert small.headers["location"] == f"/api/v1/uploads/{small.json['id']}"
        view = api.create("large.bin", 5, completion="explicit")
        api.put_chunk(view["id"], 0, b"large")
        completing = api.complete(view["id"])
        assert (completing.status, completing.json["state"]) == (202, "transferring")
        unreachable.clear()
        for upload_id in (small.json["id"], view["id"]):
            product.wait_for(
                lambda upload_id=upload_id: product.server.context.uploads.under_way(upload_id) is None, 60
            )
        assert api.complete(view["id"]).status == 200
        assert (product.data_dir / "files" / "small.bin").read_bytes() == b"small"


def test_a_repeat_from_before_the_flip_is_acknowledged_again(start_product: Start, tmp_path: Path) -> None:
    """In sequential mode, with a gap before it: the same bytes are the same chunk, and others are a conflict."""
    content = os.urandom(4 * CHUNK)

    def chunk(number: int) -> bytes:
        return content[number * CHUNK : (number + 1) * CHUNK]

    first = start_product(tmp_path / "server")
    with first.client() as api:
        view = api.create("a.bin", len(content), chunk_size=CHUNK)
        assert api.put_chunk(view["id"], 0, chunk(0)).status == 204
        assert api.put_chunk(view["id"], 2, chunk(2)).status == 204
    first.__exit__(None, None, None)
    product = start_product(tmp_path / "server", enable_parallel_uploads=False)
    with product.client() as api:
        assert api.put_chunk(view["id"], 2, chunk(2)).status == 204
        refusal(api.put_chunk(view["id"], 2, chunk(1)), 409, "chunk-conflict")
        refusal(api.put_chunk(view["id"], 3, chunk(3)), 409, "mode-changed")
        for number in (1, 3):
            assert api.put_chunk(view["id"], number, chunk(number)).status == 204
        file = product.data_dir / "files" / "a.bin"
        product.wait_for(file.exists)
        assert hashlib.sha256(file.read_bytes()).digest() == hashlib.sha256(content).digest()


def test_nothing_counts_as_at_the_destination_before_it_is(api: ApiClient) -> None:
    """A directory gets the file whole: what is received and verified is not there yet."""
    content = os.urandom(2 * CHUNK)
    view = api.create("a.bin", len(content), chunk_size=CHUNK, completion="explicit")
    api.put_all(view, content)
    seen = api.progress(view["id"])
    assert (seen["bytes_received"], seen["bytes_transferred"], seen["progress_percent"]) == (len(content), 0, 0)
    assert api.complete(view["id"]).status == 200
    assert api.progress(view["id"])["progress_percent"] == 100
