"""The product with staging in memory and a directory as its destination, which gets copies."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import forebay
from app.core.errors import DatabaseUnavailable, DestinationMismatch, DestinationUnavailable
from app.core.settings import SettingsError, load_settings
from app.core.upload import MAX_CHUNKS, UploadState
from app.destinations.disk.session import DiskSession
from app.testing.api_client import ApiClient, Reply, refusal, sha256_field
from app.testing.product import Product
from app.testing.server_process import ServerProcess
from app.testing.tus_client import ROOT, VERSION, Tus, metadata

KIB, MIB = 1 << 10, 1 << 20
CHUNK = 256 * KIB
MEMORY = {"staging": "memory", "memory_staging_mb": 8, "max_concurrent_users": 4, "slot_idle_s": 3600}
"""Four windows of 2 MiB, of which 1.75 can be used wherever they begin: seven chunks."""

Start = Callable[..., Product]


@dataclass
class Valve:
    """What the directory is sent waits while it is shut; calls fail where they are told to."""

    opened: threading.Event = field(default_factory=threading.Event)
    failures: list[Exception] = field(default_factory=list)

    def open(self) -> None:
        """Let it flow."""
        self.opened.set()

    async def pass_through(self) -> None:
        """Wait, or fail."""
        if self.failures:
            raise self.failures.pop(0)
        while not self.opened.is_set():  # set from another thread
            await asyncio.sleep(0.002)


@pytest.fixture
def valve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Valve]:
    """Before the directory; open."""
    valve, append = Valve(), DiskSession.append

    async def behind_it(session: DiskSession, pieces: Any, length: int) -> int:
        await valve.pass_through()
        return await append(session, pieces, length)

    monkeypatch.setattr(DiskSession, "append", behind_it)
    valve.open()
    yield valve
    valve.open()


def everything_is_back(product: Product) -> bool:
    """Room, buffers and slots, when nothing is under way."""
    room = product.server.staging.latest
    return product.quiescent() and not product.server.context.uploads.live and room.reserved_bytes == room.waiting == 0


@pytest.fixture
def product(start_product: Start, valve: Valve) -> Iterator[Product]:
    """With small windows; everything comes back at the end of whatever was done."""
    product = start_product(**MEMORY)
    yield product
    valve.open()
    with product.client() as api:
        for view in api.get("/api/v1/uploads?limit=500")["uploads"]:
            if view["state"] not in {"completed", "failed", "cancelled", "expired"}:
                api.cancel(view["id"])
    product.wait_for(lambda: everything_is_back(product))


@pytest.fixture
def api(product: Product) -> Iterator[ApiClient]:
    """A client."""
    with product.client() as client:
        yield client


@contextmanager
def life(start_product: Start, directory: Path, **settings: Any) -> Iterator[Product]:
    """A server that has stopped when the block ends."""
    product = start_product(directory, **settings)
    try:
        yield product
    finally:
        product.__exit__()


def lanes_of(product: Product, view: dict[str, Any], content: bytes, numbers: list[int] | None = None) -> list[Reply]:
    """Send chunks, in order, in as many lanes as were offered, and one that waits for its answer; the answers by chunk."""
    size, numbers = view["chunk_size"], list(range(view["chunk_count"])) if numbers is None else numbers

    def send(number: int) -> Reply:
        with product.client() as client:
            return client.put_chunk(view["id"], number, content[number * size : (number + 1) * size])

    with ThreadPoolExecutor(view["max_concurrent_chunks"] + 1) as pool:
        return list(pool.map(send, numbers))


def in_background(
    product: Product, view: dict[str, Any], number: int, data: bytes
) -> tuple[threading.Thread, list[Reply]]:
    """Send a chunk that is not answered soon."""
    replies: list[Reply] = []

    def send() -> None:
        with product.client() as client:
            replies.append(client.put_chunk(view["id"], number, data))

    thread = threading.Thread(target=send)
    thread.start()
    return thread, replies


def has_arrived(product: Product, upload_id: str, chunks: int) -> Callable[[], bool]:
    """Whether so many chunks are in memory, and nobody sends any more."""

    def look() -> bool:
        live = product.server.context.uploads.under_way(upload_id)
        return live is not None and len(live.readable) == chunks and not live.receivers

    return look


# -- a length that is said later -----------------------------------------------------------------------------------------


def test_a_length_that_is_said_while_bytes_are_being_sent(product: Product, api: ApiClient, valve: Valve) -> None:
    """It is answered when they are there, and it is the file's, though the request that sends them knew of none."""
    content = os.urandom(CHUNK + 17)
    valve.opened.clear()
    tus, deferred = Tus(api), {"Upload-Defer-Length": "1", "Upload-Metadata": metadata(filename="a.bin")}
    path = urlsplit(api.request("POST", ROOT, headers={**VERSION, **deferred}).headers["location"]).path
    tus.begin_patch(path, 0, 5 * MIB, content).close()
    (live,) = product.server.context.uploads.live
    product.wait_for(lambda: live.position == len(content) and not live.receivers and live.sent == 0)
    replies: list[Reply] = []

    def say() -> None:
        with product.client() as client:
            replies.append(Tus(client).patch(path, len(content), b"", {"Upload-Length": str(len(content))}))

    saying = threading.Thread(target=say)
    saying.start()
    product.wait_for(lambda: not live.row.length_deferred)
    assert not replies
    valve.open()
    saying.join()
    assert replies[0].status == 204
    product.wait_for(live.gone.is_set)
    assert (product.files / "a.bin").read_bytes() == content


def test_a_length_that_is_said_later_has_a_bound_of_its_own(api: ApiClient) -> None:
    """The file's chunks are cut before anybody knows how many there are, and there is a bound to those."""
    deferred = {"Upload-Defer-Length": "1"}
    path = urlsplit(api.request("POST", ROOT, headers={**VERSION, **deferred}).headers["location"]).path
    reply = Tus(api).patch(path, 0, b"", {"Upload-Length": str(1 << 41)})
    limit = refusal(reply, 413, "file-too-large").json["limit"]
    assert limit == MAX_CHUNKS * api.upload(path.rpartition("/")[2])["chunk_size"]


# -- arriving ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, 5 * MIB, 20 * MIB + 77])
@pytest.mark.parametrize("completion", ["auto", "explicit"])
def test_files_of_any_size_arrive(product: Product, api: ApiClient, size: int, completion: str) -> None:
    """Also those of which memory has room for a twelfth."""
    content = os.urandom(size)
    view = api.create("a.bin", size, completion=completion)
    assert view["max_concurrent_chunks"] * view["chunk_size"] <= 7 * CHUNK
    assert {reply.status for reply in lanes_of(product, view, content)} <= {204}
    done = api.complete(view["id"]).json
    assert done["state"] == "completed"
    assert (product.files / "a.bin").read_bytes() == content
    assert sha256_field(content) in done["result"]["digest"]


def test_sequential_mode_relays_too(start_product: Start) -> None:
    """4 MiB at a time where they fit."""
    content = os.urandom(10 * MIB + 5)
    product = start_product(**{**MEMORY, "memory_staging_mb": 40}, enable_parallel_uploads=False)
    with product.client() as api:
        view = api.create("a.bin", len(content))
        assert (view["chunk_size"], view["max_concurrent_chunks"]) == (4 * MIB, 1)
        refusal(api.put_chunk(view["id"], 1, content[4 * MIB : 8 * MIB]), 409, "chunk-out-of-order")
        for number in range(view["chunk_count"]):
            data = content[number * 4 * MIB : (number + 1) * 4 * MIB]
            assert api.put_chunk(view["id"], number, data).status == 204
            assert api.upload(view["id"])["bytes_transferred"] >= number * 4 * MIB + len(data)
        assert api.complete(view["id"]).json["state"] == "completed"
        assert (product.files / "a.bin").read_bytes() == content
    product.wait_for(lambda: everything_is_back(product))


@pytest.mark.parametrize("size", [0, 1, 7 * CHUNK])
@pytest.mark.parametrize("key", [None, "once"])
def test_small_files_arrive_in_one_request(product: Product, api: ApiClient, size: int, key: str | None) -> None:
    """Up to what the window has room for in fewer steps; with a key, no more, and it is said so."""
    content, headers = os.urandom(size), {} if key is None else {"Idempotency-Key": key}
    for _ in range(2):
        reply = api.request("PUT", "/api/v1/files/small.bin", content, headers)
        assert (reply.status, reply.json["state"]) == (201, "completed")
    names = sorted(path.name for path in product.files.iterdir() if path.is_file())
    assert names == (["small.bin"] if key else ["small (1).bin", "small.bin"])
    assert (product.files / "small.bin").read_bytes() == content
    larger = api.request("PUT", "/api/v1/files/large.bin", bytes(7 * CHUNK + 1), headers)
    if key is None:
        assert (larger.status, larger.json["state"]) == (201, "completed")
    else:
        refusal(larger, 413, "body-too-large")


def test_the_sdk_brings_many_files_at_once(product: Product, tmp_path: Path) -> None:
    """More uploads than windows: they take turns."""
    paths = [tmp_path / f"{number}.bin" for number in range(8)]
    for path in paths:
        path.write_bytes(os.urandom(6 * MIB + 1))

    def bring(path: Path) -> None:
        with forebay.Client(product.url, state_dir=tmp_path / "state") as client:
            client.upload(path)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(bring, paths))
    for path in paths:
        assert (product.files / path.name).read_bytes() == path.read_bytes()


def test_a_client_is_offered_what_fits(product: Product, api: ApiClient) -> None:
    """Lanes before chunk size where one of them has to give; what it asks for itself only as large as the window."""
    offered = {size: api.create("a.bin", 100 * MIB, chunk_size=size) for size in (300_000, MIB, 16 * MIB)}
    assert {size: (view["chunk_size"], view["max_concurrent_chunks"]) for size, view in offered.items()} == {
        300_000: (300_000, 5),
        MIB: (MIB, 1),
        16 * MIB: (7 * CHUNK, 1),
    }
    refusal(api.post("/api/v1/uploads", {"filename": "a", "size": 5 * 2**40}), 413, "file-too-large")


# -- acknowledged when it is there ---------------------------------------------------------------------------------------


def test_a_chunk_is_acknowledged_when_the_destination_has_it(product: Product, api: ApiClient, valve: Valve) -> None:
    """Until then no client is told of it, and it is no progress."""
    content = os.urandom(3 * CHUNK)
    view = api.create("a.bin", len(content), chunk_size=CHUNK)
    valve.opened.clear()
    thread, replies = in_background(product, view, 0, content[:CHUNK])
    product.wait_for(has_arrived(product, view["id"], 1))
    shown, progress = api.upload(view["id"]), api.progress(view["id"])
    assert (shown["bytes_received"], shown["bytes_transferred"]) == (0, 0)
    assert shown["missing"] == progress["missing"] == [{"start": 0, "end": 3 * CHUNK}]
    assert (progress["completed_chunks"], progress["progress_percent"], progress["bytes_received"]) == (0, 0, 0)
    assert replies == []
    valve.open()
    thread.join()
    assert [reply.status for reply in replies] == [204]
    shown = api.upload(view["id"])
    assert (shown["bytes_received"], shown["bytes_transferred"]) == (CHUNK, CHUNK)
    assert (product.files / ".forebay" / f"{view['id']}.part").read_bytes() == content[:CHUNK]


def test_whoever_leaves_before_the_acknowledgement_finds_the_chunk_acknowledged(
    product: Product, api: ApiClient, valve: Valve
) -> None:
    """The transfer records it; the last chunk's client may leave as well."""
    content = os.urandom(2 * CHUNK)
    view = api.create("a.bin", len(content), chunk_size=CHUNK)
    valve.opened.clear()
    for number in range(2):
        with product.client() as leaving:
            leaving.begin_chunk(view["id"], number, CHUNK, content[number * CHUNK :][:CHUNK])
            product.wait_for(has_arrived(product, view["id"], number + 1))
    product.wait_for(product.quiescent)
    assert api.upload(view["id"])["bytes_received"] == 0
    valve.open()
    product.wait_for(lambda: not product.server.context.uploads.live)
    assert (product.files / "a.bin").read_bytes() == content


def test_a_chunk_that_waits_and_is_sent_again_is_acknowledged_to_both(
    product: Product, api: ApiClient, valve: Valve
) -> None:
    """Its body is read when it is clear what it is to be compared with; other bytes are a conflict."""
    content = os.urandom(2 * CHUNK)
    view = api.create("a.bin", len(content), chunk_size=CHUNK)
    valve.opened.clear()
    first, answers = in_background(product, view, 0, content[:CHUNK])
    product.wait_for(has_arrived(product, view["id"], 1))
    again, same = in_background(product, view, 0, content[:CHUNK])
    other, different = in_background(product, view, 0, bytes(CHUNK))
    threading.Event().wait(0.1)
    assert answers == same == different == []
    valve.open()
    for thread in (first, again, other):
        thread.join()
    assert answers[0].status == 204
    outcomes = (same[0].code, different[0].code)
    assert outcomes in {("", "chunk-conflict"), ("superseded", "chunk-conflict"), ("", "superseded")}
    assert api.put_chunk(view["id"], 0, content[:CHUNK]).status == 204


def test_who_waits_while_nothing_moves_is_told(
    product: Product, api: ApiClient, valve: Valve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 with Retry-After; the bytes stay, and need not come again."""
    product.server.context.uploads.relay._patience_s = 0.2
    content = os.urandom(2 * CHUNK)
    view = api.create("a.bin", len(content), chunk_size=CHUNK)
    valve.opened.clear()
    for _ in range(2):  # the second time its body is not read
        reply = refusal(api.put_chunk(view["id"], 0, content[:CHUNK]), 503, "destination-unavailable")
        assert int(reply.headers["retry-after"]) > 0
    valve.open()
    product.wait_for(lambda: product.server.context.uploads.under_way(view["id"]).recorded.prefix == CHUNK)
    assert api.put_chunk(view["id"], 1, content[CHUNK:]).status == 204
    assert api.complete(view["id"]).json["state"] == "completed"


def test_a_destination_that_keeps_failing_is_said_in_the_guides_words(
    product: Product, api: ApiClient, valve: Valve
) -> None:
    """After the attempts; it goes on when it works again."""
    content = os.urandom(2 * CHUNK)
    view = api.create("a.bin", len(content), chunk_size=CHUNK)
    valve.failures += [DestinationUnavailable() for _ in range(3)]
    reply = refusal(api.put_chunk(view["id"], 0, content[:CHUNK]), 503, "chunk-failed")
    assert reply.json["detail"] == "Chunk 0 failed after 3 attempts"
    product.wait_for(lambda: product.server.context.uploads.under_way(view["id"]).recorded.prefix == CHUNK)
    assert api.put_chunk(view["id"], 0, content[:CHUNK]).status == 204
    assert api.put_chunk(view["id"], 1, content[CHUNK:]).status == 204
    assert api.complete(view["id"]).json["state"] == "completed"


def test_a_database_that_fails_acknowledges_nothing(start_product: Start, valve: Valve) -> None:
    """Until it has recorded what the destination has."""
    failing = [False]

    def configure(server: Any) -> None:
        record = server.repository.record_extents

        async def unreliable(*args: Any, **kwargs: Any) -> None:
            if failing[0]:
                raise DatabaseUnavailable
            await record(*args, **kwargs)

        server.repository.record_extents = unreliable

    product = start_product(**MEMORY, configure=configure)
    content = os.urandom(2 * CHUNK)
    with product.client() as api:
        view = api.create("a.bin", len(content), chunk_size=CHUNK)
        failing[0] = True
        refusal(api.put_chunk(view["id"], 0, content[:CHUNK]), 503, "chunk-failed")
        assert api.upload(view["id"])["bytes_received"] == 0
        failing[0] = False
        product.wait_for(lambda: product.server.context.uploads.under_way(view["id"]).recorded.prefix == CHUNK)
        assert api.put_chunk(view["id"], 0, content[:CHUNK]).status == 204
        assert api.put_chunk(view["id"], 1, content[CHUNK:]).status == 204
        assert api.complete(view["id"]).json["state"] == "completed"
    product.wait_for(lambda: everything_is_back(product))


# -- room ----------------------------------------------------------------------------------------------------------------


def test_a_chunk_behind_the_window_waits_with_its_body_unread(product: Product, api: ApiClient) -> None:
    """And comes in when those before it are through."""
    content = os.urandom(9 * CHUNK)
    view = api.create("a.bin", len(content), chunk_size=CHUNK)
    ahead, replies = in_background(product, view, 8, content[8 * CHUNK :])
    product.wait_for(lambda: product.server.staging.latest.waiting == 1)
    assert product.server.staging.latest.reserved_bytes == 0
    assert not product.server.context.uploads.under_way(view["id"]).receivers
    assert "forebay_staging_waiting 1.0" in api.request("GET", "/metrics").body.decode()
    for reply in lanes_of(product, view, content, [1, 0]):
        assert reply.status == 204
    product.wait_for(has_arrived(product, view["id"], 1))  # the ninth chunk alone
    assert all(reply.status == 204 for reply in lanes_of(product, view, content, [2, 3, 4, 5, 6, 7]))
    ahead.join()
    assert replies[0].status == 204
    assert api.complete(view["id"]).json["state"] == "completed"


def test_a_chunk_for_which_there_is_no_room_in_time_is_refused(start_product: Start) -> None:
    """503 with Retry-After, without a byte of it having been read; others of the same upload go on."""
    product = start_product(**MEMORY, pool_timeout_s=1)
    content = os.urandom(9 * CHUNK)
    with product.client() as api:
        view = api.create("a.bin", len(content), chunk_size=CHUNK)
        before = api.request("GET", "/metrics").body.decode()
        reply = refusal(api.put_chunk(view["id"], 8, content[8 * CHUNK :]), 503, "pool-exhausted")
        assert int(reply.headers["retry-after"]) > 0
        after = api.request("GET", "/metrics").body.decode()
        assert [line for line in before.splitlines() if line.startswith("forebay_received_bytes")] == [
            line for line in after.splitlines() if line.startswith("forebay_received_bytes")
        ]
        api.put_all(view, content)
        assert api.complete(view["id"]).json["state"] == "completed"
    product.wait_for(lambda: everything_is_back(product))


def test_chunks_in_the_worst_order_do_not_block_each_other(product: Product, api: ApiClient) -> None:
    """The last of the window first, each in a lane of its own; what they hold is never more than the window."""
    content = os.urandom(40 * CHUNK)
    view = api.create("a.bin", len(content), chunk_size=CHUNK)
    for start in range(0, 40, 7):
        numbers = [number for number in reversed(range(start, start + 7)) if number < 40]
        assert {reply.status for reply in lanes_of(product, view, content, numbers)} == {204}
        assert product.server.staging.latest.reserved_bytes <= 2 * MIB
    assert api.complete(view["id"]).json["state"] == "completed"
    assert (product.files / "a.bin").read_bytes() == content


def test_what_an_absent_client_has_left_behind_a_gap_makes_room(start_product: Start, valve: Valve) -> None:
    """One window more than there is: the bytes farthest ahead go, and are sent again."""
    product = start_product(**{**MEMORY, "memory_staging_mb": 2, "max_concurrent_users": 1}, max_concurrent_uploads=1)
    content = os.urandom(7 * CHUNK)
    with product.client() as api:
        left = api.create("left.bin", len(content), chunk_size=CHUNK)
        with product.client() as leaving:
            leaving.begin_chunk(left["id"], 6, CHUNK, content[6 * CHUNK :])
            product.wait_for(has_arrived(product, left["id"], 1))
        product.wait_for(product.quiescent)
        assert product.server.staging.latest.reserved_bytes == 7 * CHUNK
        product.call(_release(product, left["id"]))
        other = api.create("other.bin", len(content), chunk_size=CHUNK)
        api.put_all(other, content)
        assert api.complete(other["id"]).json["state"] == "completed"
        product.call(_release(product, other["id"]))
        api.put_all(left, content)
        assert api.complete(left["id"]).json["state"] == "completed"
        assert (product.files / "left.bin").read_bytes() == content
    product.wait_for(lambda: everything_is_back(product))


async def _release(product: Product, upload_id: str) -> None:
    product.server.slots.release(upload_id)  # as after its idle time


def _leave_in_the_middle(api: ApiClient, view: dict[str, Any]) -> None:
    api.begin_chunk(view["id"], 1, CHUNK, b"x" * 1000)
    api.close()


def _reset(api: ApiClient, view: dict[str, Any]) -> None:
    api.begin_chunk(view["id"], 1, CHUNK, b"x" * 200_000)
    api.reset()


def _too_slow(api: ApiClient, view: dict[str, Any]) -> None:
    sock = api.begin_chunk(view["id"], 1, CHUNK, b"x")
    sock.settimeout(10)
    with suppress(OSError):
        while sock.recv(4096):
            pass


def _wrong_digest(api: ApiClient, view: dict[str, Any]) -> None:
    refusal(api.put_chunk(view["id"], 1, bytes(CHUNK), {"Content-Digest": sha256_field(b"other")}), 422)


def _too_long(api: ApiClient, view: dict[str, Any]) -> None:
    refusal(api.put_chunk(view["id"], 1, bytes(CHUNK + 1)), 413)


def _superseded(api: ApiClient, view: dict[str, Any]) -> None:
    api.begin_chunk(view["id"], 1, CHUNK, b"x" * 1000)
    newer = ApiClient((api.connection.host, api.connection.port))
    newer.begin_chunk(view["id"], 1, CHUNK, b"x" * 1000)
    newer.close()
    api.close()


def _leave_while_waiting(api: ApiClient, view: dict[str, Any]) -> None:
    api.begin_chunk(view["id"], 9, CHUNK, b"x" * 1000)
    with ApiClient((api.connection.host, api.connection.port)) as other:
        while "forebay_staging_waiting 1.0" not in other.request("GET", "/metrics").body.decode():
            pass
    api.close()


def _whole_and_gone(api: ApiClient, view: dict[str, Any]) -> None:
    sock = api.begin_chunk(view["id"], 0, CHUNK, bytes(CHUNK))
    sock.shutdown(socket.SHUT_RDWR)
    api.close()


ENDINGS = [
    _leave_in_the_middle,
    _reset,
    _too_slow,
    _wrong_digest,
    _too_long,
    _superseded,
    _leave_while_waiting,
    _whole_and_gone,
]


@pytest.mark.parametrize("ending", ENDINGS)
def test_room_comes_back_after_every_ending_of_a_chunk(
    start_product: Start, ending: Callable[[ApiClient, dict[str, Any]], None]
) -> None:
    """While the upload itself goes on."""
    product = start_product(**MEMORY, body_idle_s=0.3)
    with product.client() as api, product.client() as bad:
        view = api.create("a.bin", 10 * CHUNK, chunk_size=CHUNK)
        ending(bad, view)
        product.wait_for(lambda: product.quiescent() and product.server.staging.latest.reserved_bytes == 0)
        assert product.server.staging.latest.waiting == 0
        api.put_all(view, bytes(10 * CHUNK))
        assert api.complete(view["id"]).json["state"] == "completed"
    product.wait_for(lambda: everything_is_back(product))


@pytest.mark.parametrize("how", ["cancel", "expire", "fail"])
def test_room_comes_back_after_every_ending_of_an_upload(
    product: Product, api: ApiClient, valve: Valve, how: str
) -> None:
    """With a chunk that is received, one that waits for its acknowledgement, and one that waits for room."""
    view = api.create("a.bin", 20 * CHUNK, chunk_size=CHUNK)
    valve.opened.clear()
    waiting, answers = in_background(product, view, 0, bytes(CHUNK))
    product.wait_for(has_arrived(product, view["id"], 1))
    far, far_answers = in_background(product, view, 15, bytes(CHUNK))
    product.wait_for(lambda: product.server.staging.latest.waiting == 1)
    with product.client() as slow:
        slow.begin_chunk(view["id"], 2, CHUNK, b"x")
        uploads = product.server.context.uploads
        live = uploads.under_way(view["id"])
        product.wait_for(lambda: 2 in live.receivers)
        if how == "cancel":
            assert api.cancel(view["id"]).status == 204
        elif how == "fail":
            product.call(uploads.fail(live, DestinationUnavailable()))
        else:
            live.receivers[2].interruption.interrupt(DestinationUnavailable())
            product.wait_for(lambda: not live.receivers)
            product.call(uploads.expire(live))
        for thread in (waiting, far):
            thread.join()
    for reply in (*answers, *far_answers):
        refusal(reply, 409 if reply in answers else reply.status)
        assert reply.status in {409, 503}
    valve.open()
    product.wait_for(lambda: everything_is_back(product))


# -- begun anew ----------------------------------------------------------------------------------------------------------


def mismatch_at_the_end(monkeypatch: pytest.MonkeyPatch, times: int) -> list[int]:
    """The destination says so often that it holds other bytes."""
    left, finish = [times], DiskSession.finish

    async def spoilt(session: DiskSession, digests: Any, source: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise DestinationMismatch
        return await finish(session, digests, source)

    monkeypatch.setattr(DiskSession, "finish", spoilt)
    return left


def test_a_mismatch_asks_for_everything_again(
    product: Product, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client goes on by itself, and the copy that was removed is not the one it is added to."""
    left = mismatch_at_the_end(monkeypatch, 1)
    path = tmp_path / "a.bin"
    path.write_bytes(os.urandom(6 * MIB))
    with forebay.Client(product.url, state_dir=tmp_path / "state") as client:
        result = client.upload(path)
    assert left == [0]
    assert (product.files / "a.bin").read_bytes() == path.read_bytes()
    assert result.stored.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert [entry.name for entry in (product.files / ".forebay").iterdir()] == []


def test_a_mismatch_of_what_is_still_here_asks_for_nothing(
    product: Product, api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file in one request is kept until its upload has ended."""
    mismatch_at_the_end(monkeypatch, 2)
    content = os.urandom(MIB)
    reply = api.request("PUT", "/api/v1/files/small.bin", content)
    assert (reply.status, reply.json["state"]) == (201, "completed")
    assert (product.files / "small.bin").read_bytes() == content


def test_a_destination_that_always_stores_other_bytes_fails_the_upload(
    product: Product, api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the third time."""
    mismatch_at_the_end(monkeypatch, 3)
    content = os.urandom(2 * CHUNK)
    view = api.create("a.bin", len(content), chunk_size=CHUNK)
    for _ in range(3):
        api.put_all(view, content)
        live = product.server.context.uploads.under_way(view["id"])
        product.wait_for(lambda live=live: live is None or not live.all_recorded)
    product.wait_for(lambda: not product.server.context.uploads.live)
    shown = api.upload(view["id"])
    assert (shown["state"], shown["error"]["code"]) == ("failed", "digest-mismatch")


def test_a_destination_that_has_lost_what_it_had_begins_anew(
    product: Product, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its part is gone after more was confirmed than memory holds."""
    append, lost = DiskSession.append, []

    async def forgetful(session: DiskSession, pieces: Any, length: int) -> int:
        if session.committed > 3 * MIB and not lost:
            lost.append(session.committed)
            (product.files / ".forebay" / session._part).unlink()
        return await append(session, pieces, length)

    monkeypatch.setattr(DiskSession, "append", forgetful)
    path = tmp_path / "a.bin"
    path.write_bytes(os.urandom(6 * MIB + 3))
    with forebay.Client(product.url, state_dir=tmp_path / "state") as client:
        client.upload(path)
    assert lost
    assert (product.files / "a.bin").read_bytes() == path.read_bytes()


def test_everything_that_was_acknowledged_is_asked_for_when_it_begins_anew(
    product: Product, api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And `complete` says what is missing, rather than wait for what nobody has."""
    mismatch_at_the_end(monkeypatch, 1)
    content = os.urandom(3 * CHUNK)
    view = api.create("a.bin", len(content), chunk_size=CHUNK, completion="explicit")
    api.put_all(view, content)
    reply = refusal(api.complete(view["id"]), 409, "incomplete")
    assert reply.json["missing"] == [{"start": 0, "end": len(content)}]
    shown = api.upload(view["id"])
    assert (shown["state"], shown["bytes_received"], shown["bytes_transferred"]) == ("receiving", 0, 0)
    api.put_all(view, content)
    assert api.complete(view["id"]).json["state"] == "completed"
    assert (product.files / "a.bin").read_bytes() == content


# -- another life --------------------------------------------------------------------------------------------------------


def test_a_restart_asks_for_everything_and_one_file_is_there(start_product: Start, tmp_path: Path) -> None:
    """Of what was half sent nothing stays; the client's memory of the upload still holds."""
    content = os.urandom(3 * MIB)
    with life(start_product, tmp_path, **MEMORY) as product, product.client() as api:
        view = api.create("a.bin", len(content), chunk_size=CHUNK)
        assert all(reply.status == 204 for reply in lanes_of(product, view, content, [0, 1, 2]))
    product = start_product(tmp_path, **MEMORY)
    with product.client() as api:
        shown = api.upload(view["id"])
        assert shown["missing"] == [{"start": 0, "end": len(content)}]
        assert (shown["state"], shown["bytes_received"], shown["bytes_transferred"]) == ("receiving", 0, 0)
        assert all(reply.status == 204 for reply in lanes_of(product, view, content))
        assert api.complete(view["id"]).json["state"] == "completed"
    assert sorted(path.name for path in product.files.iterdir()) == [".forebay", "a.bin"]
    assert (product.files / "a.bin").read_bytes() == content
    product.wait_for(lambda: everything_is_back(product))


@pytest.mark.parametrize("size", [0, 3 * CHUNK])
def test_a_file_that_was_published_before_the_database_knew_is_found(
    start_product: Start, tmp_path: Path, size: int
) -> None:
    """By its session and its checksum: nothing is asked for, and there is no second file."""
    content = os.urandom(size)
    broken = [True]

    def configure(server: Any) -> None:
        save = server.repository.save_upload

        async def unreliable(row: Any, **kwargs: Any) -> None:
            if broken[0] and row.stored_id is not None:
                raise DatabaseUnavailable
            await save(row, **kwargs)

        server.repository.save_upload = unreliable

    with life(start_product, tmp_path, configure=configure, **MEMORY) as product, product.client() as api:
        view = api.create("a.bin", size, chunk_size=CHUNK)
        api.put_all(view, content)
        product.wait_for((product.files / "a.bin").exists)
    product = start_product(tmp_path, **MEMORY)
    product.wait_for(lambda: not product.server.context.uploads.live)
    with product.client() as api:
        shown = api.upload(view["id"])
        assert (shown["state"], shown["result"]["name"]) == ("completed", "a.bin")
        assert sha256_field(content) in shown["result"]["digest"]
    assert sorted(path.name for path in product.files.iterdir()) == [".forebay", "a.bin"]


def test_a_file_that_may_have_been_published_and_was_not_is_asked_for(
    start_product: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server died before the end, and its destination lost what it had."""
    content = os.urandom(3 * CHUNK)

    async def never(session: DiskSession, digests: Any, source: Any) -> Any:
        raise DestinationUnavailable

    with monkeypatch.context() as broken, life(start_product, tmp_path, **MEMORY) as product, product.client() as api:
        broken.setattr(DiskSession, "finish", never)
        view = api.create("a.bin", len(content), chunk_size=CHUNK)
        api.put_all(view, content)
        assert api.upload(view["id"])["state"] == "transferring"
    for part in (product.files / ".forebay").iterdir():
        part.unlink()
    product = start_product(tmp_path, **MEMORY)
    uploads = product.server.context.uploads
    product.wait_for(lambda: uploads.under_way(view["id"]).row.state is UploadState.RECEIVING)
    with product.client() as api:
        api.put_all(view, content)
        assert api.complete(view["id"]).json["state"] == "completed"
        assert (product.files / "a.bin").read_bytes() == content


@pytest.mark.parametrize("key", [None, "once"])
def test_a_small_file_that_a_restart_has_lost_is_not_waited_for(
    start_product: Start, tmp_path: Path, valve: Valve, key: str | None
) -> None:
    """Its upload ends, so that whoever sends it again, with the same key, begins a new one."""
    content, headers = os.urandom(MIB), {} if key is None else {"Idempotency-Key": key}
    valve.opened.clear()
    with life(start_product, tmp_path, **MEMORY, shutdown_grace_s=0) as product:

        def send() -> None:
            with product.client() as client, suppress(OSError):
                client.request("PUT", "/api/v1/files/small.bin", content, headers)

        sending = threading.Thread(target=send)
        sending.start()
        product.wait_for(lambda: bool(product.server.context.uploads.live))
        (live,) = product.server.context.uploads.live
    sending.join()
    valve.open()
    product = start_product(tmp_path, **MEMORY)
    product.wait_for(lambda: not product.server.context.uploads.live)
    with product.client() as api:
        shown = api.upload(live.row.id)
        assert (shown["state"], shown["error"]["code"]) == ("failed", "room-lost")
        if key is not None:
            assert api.request("PUT", "/api/v1/files/small.bin", content, headers).json["state"] == "failed"
        reply = api.request("PUT", "/api/v1/files/small.bin", content, {"Idempotency-Key": "another"})
        assert (reply.status, reply.json["state"]) == (201, "completed")
    assert sorted(path.name for path in product.files.iterdir()) == [".forebay", "small.bin"]


def test_an_upload_of_the_spool_goes_on_in_memory_in_smaller_chunks(start_product: Start, tmp_path: Path) -> None:
    """After the setting was changed: nothing is there any more, and its chunks would not fit."""
    content = os.urandom(5 * MIB)
    with life(start_product, tmp_path) as product, product.client() as api:
        view = api.create("a.bin", len(content), chunk_size=4 * MIB)
        assert api.put_chunk(view["id"], 1, content[4 * MIB :]).status == 204
    product = start_product(tmp_path, **MEMORY)
    with product.client() as api:
        shown = api.upload(view["id"])
        assert shown["missing"] == [{"start": 0, "end": len(content)}]
        assert shown["chunk_size"] * shown["max_concurrent_chunks"] <= 7 * CHUNK
        assert all(reply.status == 204 for reply in lanes_of(product, shown, content))
        assert api.complete(view["id"]).json["state"] == "completed"
    assert (product.files / "a.bin").read_bytes() == content


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_the_real_client_brings_its_files_through_kills(
    start_server: Callable[..., ServerProcess], tmp_path: Path, seed: int
) -> None:
    """Kill -9 at random moments, each of which asks for everything again; each file is there once, whole."""
    chance = random.Random(seed)
    server = start_server(
        tmp_path / "server",
        PARALLEL_UPLOAD_STAGING="memory",
        PARALLEL_UPLOAD_MEMORY_STAGING_MB="8",
        PARALLEL_UPLOAD_MAX_CONCURRENT_USERS="4",
    )
    paths = [tmp_path / f"{name}.bin" for name in "abc"]
    for path in paths:
        path.write_bytes(chance.randbytes(24 * MIB + chance.randint(0, 9999)))
    received: dict[Path, int] = dict.fromkeys(paths, 0)
    policy = forebay.RetryPolicy(patience_s=60, wait_initial_s=0.05, wait_max_s=0.5)

    def note(event: forebay.UploadEvent) -> None:
        if isinstance(event, forebay.Progress):
            received[event.path] = max(received[event.path], event.received)

    def bring(path: Path) -> None:
        with forebay.Client(server.url, state_dir=tmp_path / "state", policy=policy) as client:
            client.upload(path, progress=note)

    with ThreadPoolExecutor(3) as pool:
        bringing = [pool.submit(bring, path) for path in paths]
        for _ in range(4):
            share, deadline = chance.uniform(0.1, 0.9), time.monotonic() + 30
            while sum(received.values()) < share * 72 * MIB and time.monotonic() < deadline:
                time.sleep(0.005)
            received.update(dict.fromkeys(paths, 0))
            server.kill()
            server.start()
        for upload in bringing:
            upload.result(100)
    names = {path.name for path in server.files.iterdir() if path.is_file()}
    assert names == {path.name for path in paths}, "each once, and nothing else"
    for path in paths:
        assert (server.files / path.name).read_bytes() == path.read_bytes()
    assert list((server.files / ".forebay").iterdir()) == []
    assert server.stop() == 0


@pytest.mark.slow
def test_twenty_users_at_once_stay_within_the_memory_they_are_given(
    start_server: Callable[..., ServerProcess], tmp_path: Path
) -> None:
    """Resident: staging and 120 MiB, while four times as much passes."""
    server = start_server(
        tmp_path / "server",
        FOREBAY_AUTH="none",
        PARALLEL_UPLOAD_STAGING="memory",
        PARALLEL_UPLOAD_MEMORY_STAGING_MB="100",
    )
    content = os.urandom(20 * MIB)

    def user(number: int) -> None:
        source = f"127.0.0.{2 + number}"
        with ApiClient(("127.0.0.1", server.port), source=source) as api:
            view = api.create(f"{number}.bin", len(content))

        def lane(first: int) -> None:
            with ApiClient(("127.0.0.1", server.port), source=source) as client:
                size = view["chunk_size"]
                for chunk in range(first, view["chunk_count"], view["max_concurrent_chunks"]):
                    reply = client.put_chunk(view["id"], chunk, content[chunk * size : (chunk + 1) * size])
                    assert reply.status == 204, reply

        with ThreadPoolExecutor(view["max_concurrent_chunks"]) as lanes:
            list(lanes.map(lane, range(view["max_concurrent_chunks"])))
        with ApiClient(("127.0.0.1", server.port), source=source) as api:
            assert api.complete(view["id"]).json["state"] == "completed"

    with ThreadPoolExecutor(20) as users:
        list(users.map(user, range(20)))
    status = Path(f"/proc/{server.pid}/status").read_text()
    peak_mib = next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))
    assert peak_mib <= 100 + 120
    digest = hashlib.sha256(content).digest()
    assert all(hashlib.sha256(path.read_bytes()).digest() == digest for path in server.files.glob("*.bin"))


# -- settings ------------------------------------------------------------------------------------------------------------


def test_memory_for_less_than_a_mebibyte_each_is_refused() -> None:
    """In one line."""
    with pytest.raises(
        SettingsError, match="PARALLEL_UPLOAD_MEMORY_STAGING_MB=19: must be at least 1 MiB for each of the 20"
    ):
        load_settings(env_file=None, environ={}, staging="memory", memory_staging_mb=19)
    assert load_settings(env_file=None, environ={}, memory_staging_mb=19).staging == "spool"


def test_no_spool_is_made(product: Product) -> None:
    """Nor anything else that would need a disk for bytes."""
    assert sorted(path.name for path in product.data_dir.iterdir() if path.is_dir()) in ([], ["files"])
