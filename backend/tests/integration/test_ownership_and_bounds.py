"""Whose a stored file is after its name was used again; how much one user may leave unfinished; who is told of the start."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import crc32c
import pytest

from app.core.tokens import new_token
from app.core.upload import Completion, Extent, NameConflictPolicy, Upload, UploadState
from app.services.chunk_buffer_pool import ChunkBufferPool
from app.services.live import LiveUpload
from app.services.prefix_reader import PrefixReader
from app.staging.spool import SpoolStaging
from app.testing.api_client import ApiClient, refusal
from app.testing.product import Product
from app.testing.server_process import ServerProcess

Start = Callable[..., Product]


def _client_of(product: Product, user: str) -> ApiClient:
    secret, digest = new_token()
    product.call(product.server.repository.add_token(user, digest, label="", operator=False, expires_at=None))
    return product.client(token=secret)


def _content_path(stored: dict[str, object]) -> str:
    return f"/api/v1/files/{stored['id']}/content"


@pytest.mark.parametrize("how", ["replaced", "removed and its name used again"])
def test_a_file_whose_name_was_used_again_is_not_served_to_its_former_owner(start_product: Start, how: str) -> None:
    """Ann gets 404, not Bob's bytes; Bob gets his."""
    product = start_product(auth="tokens")
    with _client_of(product, "ann") as ann, _client_of(product, "bob") as bob:
        of_ann = ann.request("PUT", "/api/v1/files/name.txt", b"of ann").json
        assert ann.request("GET", _content_path(of_ann)).body == b"of ann"
        policy = "replace"
        if how != "replaced":
            (product.server.settings.data_dir / "files" / "name.txt").unlink()
            policy = "rename"
        of_bob = bob.request("PUT", f"/api/v1/files/name.txt?on_conflict={policy}", b"of bob").json
        assert of_bob["result"]["name"] == "name.txt"
        refusal(ann.request("GET", _content_path(of_ann)), 404, "not-found")
        assert bob.request("GET", _content_path(of_bob)).body == b"of bob"


def test_a_user_may_leave_only_so_many_uploads_unfinished(start_product: Start) -> None:
    """The next is told to wait, another user is not, and a cancel makes room."""
    product = start_product(auth="tokens", max_pending_per_user=2)
    with _client_of(product, "ann") as ann, _client_of(product, "bob") as bob:
        first = ann.create("1.bin", 10)
        ann.create("2.bin", 10)
        refused = refusal(ann.post("/api/v1/uploads", {"filename": "3.bin", "size": 10}), 429, "too-many-pending")
        assert refused.headers["retry-after"]
        bob.create("4.bin", 10)
        assert ann.cancel(first["id"]).status == 204
        ann.create("3.bin", 10)


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("evil.example", "http://evil.example", 403),
        ("127.0.0.1", "http://127.0.0.1", 200),
        ("localhost", "http://localhost", 200),
        ("127.0.0.1", "http://evil.example", 403),
        ("evil.example", None, 200),
    ],
)
def test_without_tokens_a_page_under_a_rebound_name_is_foreign(
    start_product: Start, host: str, origin: str | None, status: int
) -> None:
    """A page's origin counts only under an address or a known name; programs, which send none, are as before."""
    with start_product(auth="none").client() as client:
        headers = {"host": host} | ({"origin": origin} if origin is not None else {})
        assert client.request("GET", "/api/v1/uploads", headers=headers).status == status


async def test_a_reader_gives_way_at_the_end_of_an_extent(tmp_path: Path) -> None:
    """So that an upload that never pauses does not keep the others from the destination."""
    content = os.urandom(3000)
    extents = [Extent(start, 1000, crc32c.crc32c(content[start : start + 1000])) for start in (0, 1000, 2000)]
    row = Upload(
        id="a" * 32,
        owner="ann",
        filename="f",
        folder="",
        media_type="text/plain",
        size=3000,
        chunk_size=1000,
        state=UploadState.RECEIVING,
        completion=Completion.AUTO,
        on_conflict=NameConflictPolicy.RENAME,
        destination="default",
        created_at=0,
        active_at_s=0,
    )
    staging = SpoolStaging(tmp_path, min_free_bytes=0)
    pool = ChunkBufferPool(4096, 2, timeout_s=5)
    pool.open()
    await staging.open()
    with ThreadPoolExecutor(1) as threads:
        await staging.reserve(row.id, row.owner, row.size)
        writer = staging.open_writer(row.id, 0)
        writer.write(memoryview(content))
        writer.close()
        live, reader, got = LiveUpload(row, extents), PrefixReader(staging, pool, threads), bytearray()
        async for piece in reader.pieces(live, send_from=0, send_until=3000, stall_s=0, give_way=lambda: True):
            got += piece
        assert (bytes(got), live.digest.position) == (content[:1000], 1000)
        async for piece in reader.pieces(live, send_from=1000, send_until=3000, stall_s=0):
            got += piece
        assert bytes(got) == content
        assert (
            b"".join([bytes(piece) async for piece in reader.pieces(live, send_from=500, send_until=1500, stall_s=0)])
            == (content[500:1500])
        ), "what the digest has passed is read again"
    await staging.aclose()
    pool.close()


def test_the_service_manager_is_told_of_start_and_stop(tmp_path: Path) -> None:
    """As `Type=notify` of the unit wants (sd_notify(3))."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(30)
        server = ServerProcess(tmp_path / "server", {"NOTIFY_SOCKET": str(tmp_path / "notify")})
        with server:
            assert manager.recv(100) == b"READY=1"
            assert server.stop(signal.SIGTERM) == 0
            assert manager.recv(100) == b"STOPPING=1"
