"""Resumable uploads and files in one request with staging in memory, of which a directory gets copies."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.core.errors import DestinationMismatch
from app.destinations.disk.session import DiskSession
from app.testing.api_client import ApiClient, Reply, refusal, sha256_field
from app.testing.product import Product

from .conftest import PARTIAL, Resumable

MIB = 1 << 20
MEMORY = {"staging": "memory", "memory_staging_mb": 8, "max_concurrent_users": 4}
"""Four windows of 2 MiB."""

Start = Callable[..., Product]
Stored = Callable[[str], bytes]


@pytest.fixture
def product(start_product: Start, tmp_path: Path) -> Iterator[Product]:
    """With windows that are smaller than the files."""
    product = start_product(tmp_path, **MEMORY)
    yield product
    product.wait_for(product.quiescent)


@pytest.fixture
def spoilt(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """So many files turn out to hold other bytes than were sent, at the end."""
    left, finish = [1], DiskSession.finish

    async def other(session: DiskSession, *args: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise DestinationMismatch
        return await finish(session, *args)

    monkeypatch.setattr(DiskSession, "finish", other)
    return left


@pytest.mark.parametrize("size", [0, 1, 700_001, 5 * MIB + 3])
@pytest.mark.parametrize("complete", ["?1", None])
def test_a_file_in_one_request(resumable: Resumable, stored: Stored, size: int, complete: str | None) -> None:
    """Of known length; also of a client that knows nothing of resuming."""
    content = os.urandom(size)
    reply = resumable.create(content, complete=complete, Content_Disposition='inline; filename="a.bin"')
    assert (reply.status, reply.json["state"]) == (201, "completed")
    assert sha256_field(content) in reply.headers["repr-digest"]
    assert stored("a.bin") == content


def test_a_file_in_several_requests(resumable: Resumable, stored: Stored) -> None:
    """Each is answered when the destination's side has what it brought."""
    content = os.urandom(5 * MIB + 17)
    path = resumable.begin(len(content))
    for start in range(0, len(content), 1_700_001):
        piece = content[start : start + 1_700_001]
        last = start + len(piece) == len(content)
        reply = resumable.append(path, start, piece, "?1" if last else "?0")
        assert (reply.status, reply.headers["upload-offset"]) == (201 if last else 204, str(start + len(piece)))
    assert stored("report.bin") == content


@pytest.mark.parametrize("size", [0, 700_001, 2 * MIB, 5 * MIB + 17])
def test_a_length_that_only_the_end_says(product: Product, resumable: Resumable, stored: Stored, size: int) -> None:
    """It is on its way to the destination before that, and can be more than the window has."""
    content = os.urandom(size)
    reply = resumable.create(complete="?0", Content_Disposition='inline; filename="a.bin"')
    path = "/api/v1/resumable/" + reply.headers["location"].rpartition("/")[2]
    half = size // 2
    if half:
        assert resumable.append(path, 0, content[:half], "?0").headers["upload-offset"] == str(half)
        assert resumable.standing(path) == (half, "?0")
        (live,) = product.server.context.uploads.live
        assert live.bytes_transferred == half
    reply = resumable.append(path, half, content[half:], "?1")
    assert (reply.status, reply.headers["upload-offset"]) == (201, str(size))
    assert stored("a.bin") == content


def test_with_a_digest_less_is_taken_at_once(resumable: Resumable, stored: Stored) -> None:
    """Nothing of it goes on before all of it is known to be what was meant: half a window. The upload stays."""
    content = os.urandom(3 * MIB)
    path = resumable.begin(len(content))
    digest = {"Content_Digest": sha256_field(content)}
    refused = refusal(resumable.append(path, 0, content, "?1", **digest), 413, "body-too-large")
    limit = refused.json["limit"]
    assert 0 < limit <= MIB
    digest = {"Content_Digest": sha256_field(content[:limit])}
    assert resumable.append(path, 0, content[:limit], **digest).status == 204
    assert resumable.append(path, limit, content[limit:], "?1").status == 201
    assert stored("report.bin") == content


def test_progress_is_told(resumable: Resumable) -> None:
    """Of what has come, whether or not the destination's side has it."""
    content = os.urandom(5 * MIB)
    path = resumable.begin(len(content))
    with resumable.raw() as raw:
        fields = {**PARTIAL, "Upload-Offset": "0", "Upload-Complete": "?1", "Content-Length": str(len(content))}
        resumable.send_head(raw, "PATCH", path, fields)
        raw.send(content[: 3 * MIB])
        interim = raw.answer()
        assert interim.status == 104
        assert 0 < int(interim.headers["upload-offset"]) <= 3 * MIB
        raw.send(content[3 * MIB :])
        while (answer := raw.answer()).status == 104:
            pass
        assert answer.status == 201


def test_what_came_before_a_connection_broke_is_kept(product: Product, resumable: Resumable, stored: Stored) -> None:
    """And the client goes on from there."""
    content = os.urandom(4 * MIB)
    path = resumable.begin(len(content))
    with resumable.raw() as raw:
        fields = {**PARTIAL, "Upload-Offset": "0", "Upload-Complete": "?1", "Content-Length": str(len(content))}
        resumable.send_head(raw, "PATCH", path, fields)
        raw.send(content[: MIB + 5])
        live = product.server.context.uploads.under_way(path.rpartition("/")[2])
        product.wait_for(lambda: live.position >= MIB)
    offset, complete = resumable.standing(path)
    assert MIB <= offset <= MIB + 5
    assert complete == "?0"
    assert resumable.append(path, offset, content[offset:], "?1").status == 201
    assert stored("report.bin") == content


def test_a_restart_ends_it(start_product: Start, tmp_path: Path) -> None:
    """Nothing is here any more, and its offset must not go back: the client begins another."""
    product = start_product(tmp_path, **MEMORY)
    with product.client() as api:
        path = Resumable(api).begin(MIB)
        assert Resumable(api).append(path, 0, bytes(1000)).status == 204
    product.__exit__()
    product = start_product(tmp_path, **MEMORY)
    with product.client() as api:
        assert Resumable(api).head(path).status == 404
        shown = api.upload(path.rpartition("/")[2])
        assert (shown["state"], shown["error"]["code"]) == ("failed", "room-lost")


@pytest.mark.usefixtures("spoilt")
def test_a_destination_that_has_other_bytes_ends_it(product: Product, resumable: Resumable, api: ApiClient) -> None:
    """They are not here any more, and the client may have let go of them."""
    content = os.urandom(5 * MIB)
    path = resumable.begin(len(content))
    assert resumable.append(path, 0, content[: 3 * MIB]).status == 204
    refusal(resumable.append(path, 3 * MIB, content[3 * MIB :], "?1"), 503, "room-lost")
    assert resumable.head(path).status == 404
    assert api.upload(path.rpartition("/")[2])["error"]["code"] == "room-lost"
    assert not (product.files / "report.bin").exists()


# -- `curl -T` and `curl -F` ----------------------------------------------------------------------------------------------


def sent_at_once(api: ApiClient, how: str, content: bytes) -> Reply:
    """A file in one request that says its length, or does not, or can't."""
    if how == "form":
        head = b'--x\r\nContent-Disposition: form-data; name="f"; filename="a.bin"\r\n\r\n'
        fields = {"Content-Type": "multipart/form-data; boundary=x"}
        return api.request("POST", "/api/v1/forms", head + content + b"\r\n--x--\r\n", fields)
    if how == "declared":
        return api.request("PUT", "/api/v1/files/a.bin", content)
    pieces = iter([content[start : start + 100_000] for start in range(0, len(content), 100_000)])
    api.connection.request("PUT", "/api/v1/files/a.bin", pieces, encode_chunked=True)
    answer = api.connection.getresponse()
    return Reply(answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.read())


HOW = pytest.mark.parametrize("how", ["declared", "chunked", "form"])


@HOW
@pytest.mark.parametrize("size", [0, 1, 256 * 1024, MIB, 5 * MIB, 5 * MIB + 3])
def test_a_file_of_any_size_at_once(product: Product, api: ApiClient, stored: Stored, how: str, size: int) -> None:
    """Larger than the window, too."""
    content = os.urandom(size)
    reply = sent_at_once(api, how, content)
    assert reply.status == 201, reply.body
    view = reply.json["uploads"][0] if how == "form" else reply.json
    assert (view["state"], view["size"]) == ("completed", size)
    assert stored("a.bin") == content
    assert [file.name for file in product.files.iterdir() if not file.name.startswith(".")] == ["a.bin"]


@HOW
@pytest.mark.usefixtures("spoilt")
def test_a_file_at_once_of_which_the_destination_has_other_bytes_is_refused(
    product: Product, api: ApiClient, how: str
) -> None:
    """It is not waited for: nobody sends the file again to this upload."""
    reply = sent_at_once(api, how, os.urandom(5 * MIB))
    refusal(reply, 503, "room-lost")
    assert int(reply.headers["retry-after"]) > 0
    view = api.get("/api/v1/uploads?limit=1")["uploads"][0]
    assert (view["state"], view["error"]["code"]) == ("failed", "room-lost")
    assert not (product.files / "a.bin").exists()
