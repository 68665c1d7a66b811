"""Receiving under odd circumstances: repeats, clients that leave, full disks, the order of sequential mode."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.core.errors import DatabaseUnavailable, DestinationUnavailable, MemoryPressure, OutOfSpace
from app.core.upload import UploadState
from app.testing.api_client import ApiClient, refusal
from app.testing.product import Product

CHUNK = 262_144
Start = Callable[..., Product]


def _live(product: Product, upload_id: str) -> Any:
    return product.call(product.server.context.uploads.find(upload_id, None))


def test_a_file_that_came_in_one_request_has_one_chunk(api: ApiClient) -> None:
    """So a chunk sent to it afterwards is a repeat, a conflict or out of range, and never an internal error."""
    content = b"x" * (4 * CHUNK)
    view = api.request("PUT", "/api/v1/files/a.bin", content).json
    assert view["chunk_count"] == 1
    refusal(api.put_chunk(view["id"], 1, b"x" * CHUNK), 400, "chunk-out-of-range")
    assert api.put_chunk(view["id"], 0, content).status == 204
    refusal(api.put_chunk(view["id"], 0, b"y" * len(content)), 409, "chunk-conflict")


def test_a_chunk_of_a_completed_upload_is_compared_with_what_was_recorded(api: ApiClient) -> None:
    """Also long after: the answer to the last one may have been lost."""
    view = api.create("a.bin", 2 * CHUNK, chunk_size=CHUNK)
    api.put_all(view, b"x" * 2 * CHUNK)
    api.complete(view["id"])
    assert api.put_chunk(view["id"], 1, b"x" * CHUNK).status == 204
    refusal(api.put_chunk(view["id"], 1, b"y" * CHUNK), 409, "chunk-conflict")


def test_no_room_for_a_small_file_keeps_no_slot(
    product: Product, api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk must not fill the slots too."""

    async def full(*_: object) -> None:
        raise OutOfSpace

    monkeypatch.setattr(product.server.staging, "reserve", full)
    refusal(api.request("PUT", "/api/v1/files/a.bin", b"x"), 507, "out-of-space")
    product.wait_for(product.quiescent)
    assert product.server.slots.stats.active_uploads == 0


def test_a_repeated_creation_needs_no_room_and_no_memory(
    product: Product, api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer was lost, the upload is there: a full disk or short memory is no reason to hide it."""
    body = {"filename": "a.bin", "size": CHUNK}
    first = api.post("/api/v1/uploads", body, {"Idempotency-Key": "k"}).json

    async def full(*_: object) -> None:
        raise OutOfSpace

    def short() -> None:
        raise MemoryPressure

    monkeypatch.setattr(product.server.staging, "reserve", full)
    monkeypatch.setattr(product.server.memory, "admit", short)
    again = api.post("/api/v1/uploads", body, {"Idempotency-Key": "k"})
    assert (again.status, again.json["id"]) == (201, first["id"])
    refusal(api.post("/api/v1/uploads", {**body, "size": 1}, {"Idempotency-Key": "k"}), 409, "idempotency-conflict")


def test_a_creation_that_was_committed_and_said_to_have_failed_is_found_and_works(
    product: Product, api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection to the database that breaks at COMMIT leaves it open what happened."""
    repository = product.server.repository
    add = repository.add_upload

    async def add_and_fail(row: Any, **how: Any) -> Any:
        await add(row, **how)
        raise DatabaseUnavailable

    body = {"filename": "a.bin", "size": CHUNK}
    monkeypatch.setattr(repository, "add_upload", add_and_fail)
    refusal(api.post("/api/v1/uploads", body, {"Idempotency-Key": "k"}), 503, "database-unavailable")
    monkeypatch.undo()
    view = api.post("/api/v1/uploads", body, {"Idempotency-Key": "k"}).json
    api.put_all(view, b"x" * CHUNK)
    assert api.complete(view["id"]).json["state"] == "completed"


def test_an_empty_file_whose_beginning_was_interrupted_arrives_when_asked_for_again(
    product: Product, api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no chunk that could be sent again."""
    repository = product.server.repository
    save = repository.save_upload
    failing = threading.Event()
    failing.set()

    async def refuse(row: Any, **how: Any) -> None:
        if failing.is_set() and row.state is UploadState.TRANSFERRING:
            raise DatabaseUnavailable
        await save(row, **how)

    monkeypatch.setattr(repository, "save_upload", refuse)
    body = {"filename": "a.bin", "size": 0}
    refusal(api.post("/api/v1/uploads", body, {"Idempotency-Key": "k"}), 503, "database-unavailable")
    failing.clear()
    view = api.post("/api/v1/uploads", body, {"Idempotency-Key": "k"}).json
    assert api.complete(view["id"]).json["state"] == "completed"
    assert (product.files / "a.bin").read_bytes() == b""


def test_clients_that_leave_while_they_wait_for_the_destination_leave_nothing_behind(
    start_product: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`complete`, a single request and (in sequential mode) a chunk: all wait for a destination that does not answer."""
    product = start_product(enable_parallel_uploads=False)

    async def away(*_: object) -> None:
        raise DestinationUnavailable

    monkeypatch.setattr(product.server.context.processor, "_attempts", 1000)
    monkeypatch.setattr(product.server.destinations["default"], "take_over", away)
    with product.client() as first, product.client() as second:
        view = first.create("a.bin", CHUNK)
        assert first.put_chunk(view["id"], 0, b"x" * CHUNK).status == 204
        first.connection.request("POST", f"/api/v1/uploads/{view['id']}/complete", b"{}")
        second.connection.request("PUT", "/api/v1/files/b.bin", b"b")
        product.wait_for(lambda: len(product.receiver.server_state.tasks) == 2)
        product.wait_for(lambda: len(product.server.context.uploads.live) == 2)
        first.close()
        second.close()
    product.wait_for(product.quiescent)


def test_a_chunk_whose_commit_is_in_doubt_is_not_written_over(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newer connection waited for the older one, whose record may be in the database: it asks before it writes."""
    repository = product.server.repository
    record = repository.record_extents

    async def make() -> tuple[asyncio.Event, asyncio.Event]:
        return asyncio.Event(), asyncio.Event()

    recording, go_on = product.call(make())

    async def commit_and_fail(*given: Any, **how: Any) -> None:
        recording.set()
        await go_on.wait()
        await record(*given, **how)
        raise DatabaseUnavailable

    monkeypatch.setattr(repository, "record_extents", commit_and_fail)
    with product.client() as older, product.client() as newer, product.client() as api:
        view = api.create("a.bin", 2 * CHUNK, chunk_size=CHUNK)
        live = _live(product, view["id"])
        older.connection.request("PUT", f"/api/v1/uploads/{view['id']}/chunks/0", b"x" * CHUNK)
        product.wait_for(recording.is_set)
        newer.connection.request("PUT", f"/api/v1/uploads/{view['id']}/chunks/0", b"y" * CHUNK)
        product.wait_for(lambda: live.receivers[0].interruption._error is not None)
        product.call(_set(go_on))
        assert older.connection.getresponse().status == 503
        assert newer.connection.getresponse().status == 409
        monkeypatch.undo()
        api.put_chunk(view["id"], 1, b"z" * CHUNK)
        assert api.complete(view["id"]).status == 200
    assert (product.files / "a.bin").read_bytes() == b"x" * CHUNK + b"z" * CHUNK


async def _set(event: asyncio.Event) -> None:
    event.set()


def test_in_sequential_mode_nothing_is_taken_before_what_came_was_forwarded(
    start_product: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A destination that takes nothing bounds what is staged: the next chunk is refused, unread."""
    product = start_product(enable_parallel_uploads=False, chunk_attempts=1)

    async def away(*_: object) -> None:
        raise DestinationUnavailable

    disk = product.server.destinations["default"]
    monkeypatch.setattr(type(disk), "can_take_over", lambda *_: False)
    monkeypatch.setattr(disk, "begin", away)
    with product.client() as api:
        view = api.create("a.bin", 2 * CHUNK, chunk_size=CHUNK)
        refusal(api.put_chunk(view["id"], 0, b"x" * CHUNK), 503, "chunk-failed")
        refusal(api.put_chunk(view["id"], 1, b"y" * CHUNK), 503, "chunk-failed")
        assert api.upload(view["id"])["bytes_received"] == CHUNK
        monkeypatch.undo()
        product.wait_for(lambda: _forwarded(product, view["id"]) >= CHUNK)
        assert api.put_chunk(view["id"], 1, b"y" * CHUNK).status == 204
        assert api.complete(view["id"]).status == 200
    assert (product.files / "a.bin").read_bytes() == b"x" * CHUNK + b"y" * CHUNK


def _forwarded(product: Product, upload_id: str) -> int:
    live = {live.row.id: live for live in product.server.context.uploads.live}.get(upload_id)
    return live.forwarded if live is not None else 0


def test_in_sequential_mode_a_chunk_of_an_upload_that_was_cancelled_meanwhile_is_not_acknowledged(
    start_product: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was recorded, but what is answered is the end."""
    product = start_product(enable_parallel_uploads=False, chunk_attempts=10)

    async def away(*_: object) -> None:
        raise DestinationUnavailable

    disk = product.server.destinations["default"]
    monkeypatch.setattr(type(disk), "can_take_over", lambda *_: False)
    monkeypatch.setattr(disk, "begin", away)
    with product.client() as api, product.client() as other:
        view = api.create("a.bin", 2 * CHUNK, chunk_size=CHUNK)
        live = _live(product, view["id"])
        api.connection.request("PUT", f"/api/v1/uploads/{view['id']}/chunks/0", b"x" * CHUNK)
        product.wait_for(lambda: live.problem is not None)
        assert other.cancel(view["id"]).status == 204
        assert api.connection.getresponse().status == 409
