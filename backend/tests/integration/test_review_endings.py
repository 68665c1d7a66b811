"""Endings that meet trouble: whatever fails meanwhile, one truth, nothing left behind, and the server goes on."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from app.core.errors import DatabaseUnavailable
from app.core.upload import UploadState
from app.testing.api_client import ApiClient, refusal, sha256_field
from app.testing.product import Product

CHUNK = 262_144
Start = Callable[..., Product]


def _live(product: Product, upload_id: str) -> Any:
    return product.call(product.server.context.uploads.find(upload_id, None))


def _refuse_to_save(product: Product, monkeypatch: pytest.MonkeyPatch, state: UploadState) -> asyncio.Event:
    """The database can't write that state until the event is set; the event loop's own."""
    repository = product.server.repository
    save = repository.save_upload

    async def make() -> asyncio.Event:
        return asyncio.Event()

    back = product.call(make())

    async def refuse(row: Any, **how: Any) -> None:
        if row.state is state and not back.is_set():
            raise DatabaseUnavailable
        await save(row, **how)

    monkeypatch.setattr(repository, "save_upload", refuse)
    return back


def test_a_published_file_is_not_cancelled_while_the_database_is_away(
    product: Product, api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name is visible already: "cancelled" would be a lie."""
    back = _refuse_to_save(product, monkeypatch, UploadState.COMPLETED)
    view = api.create("a.bin", CHUNK)
    api.put_all(view, b"x" * CHUNK)
    live = _live(product, view["id"])
    product.wait_for(lambda: live.problem is not None)
    assert (product.files / "a.bin").exists()
    refusal(api.cancel(view["id"]), 409, "state-conflict")
    product.call(_set(back))
    assert api.complete(view["id"]).json["state"] == "completed"


async def _set(event: asyncio.Event) -> None:
    event.set()


def test_an_end_that_the_database_knows_and_we_do_not_ends_no_server(
    product: Product, api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit whose answer was lost: the transfer finds the row ended, and so does everybody then."""
    repository = product.server.repository
    save = repository.save_upload

    async def ended_before(row: Any, **how: Any) -> None:
        if row.state is UploadState.COMPLETED:
            await save(replace(row, state=UploadState.CANCELLED))
        await save(row, **how)

    monkeypatch.setattr(repository, "save_upload", ended_before)
    view = api.create("a.bin", CHUNK, completion="explicit")
    api.put_all(view, b"x" * CHUNK)
    refusal(api.complete(view["id"]), 409, "state-conflict")
    assert api.upload(view["id"])["state"] == "cancelled"
    product.wait_for(lambda: not product.server.context.uploads.live)
    assert list(product.spool.glob("[0-9a-f]*")) == []
    monkeypatch.undo()
    assert api.request("PUT", "/api/v1/files/b.txt", b"b").status == 201


def test_a_failed_transfer_lets_go_of_everything_though_its_session_can_not_be_removed(
    start_product: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits hears of the end, and staging is empty."""
    product = start_product()
    disk = product.server.destinations["default"]
    monkeypatch.setattr(type(disk), "can_take_over", lambda *_: False)
    begin = disk.begin

    async def begin_badly(target: Any, saved: str | None) -> Any:
        session = await begin(target, saved)

        async def abort() -> None:
            raise DatabaseUnavailable  # whatever may pass

        monkeypatch.setattr(session, "abort", abort)
        return session

    monkeypatch.setattr(disk, "begin", begin_badly)
    wrong = "sha-256=:" + "A" * 43 + "=:"
    with product.client() as api:
        view = api.create("a.bin", CHUNK, digest=wrong)
        api.put_all(view, b"x" * CHUNK)
        refusal(api.complete(view["id"]), 422, "digest-mismatch")
    product.wait_for(lambda: not product.server.context.uploads.live)
    assert list(product.spool.glob("[0-9a-f]*")) == []


def test_an_upload_whose_destination_was_removed_waits_and_says_so(start_product: Start, tmp_path: Any) -> None:
    """The operator may put it back; until then nothing is lost and nothing is an internal error."""
    with_it = start_product(destinations={"archive": f"disk:{tmp_path / 'archive'}"})
    with with_it.client() as api:
        view = api.create("a.bin", 2 * CHUNK, chunk_size=CHUNK, destination="archive")
        api.put_chunk(view["id"], 0, b"x" * CHUNK)
    with_it.__exit__()
    without_it = start_product()
    with without_it.client() as api:
        api.put_chunk(view["id"], 1, b"y" * CHUNK)
        live = _live(without_it, view["id"])
        without_it.wait_for(lambda: live.problem is not None)
        seen = api.upload(view["id"])
        assert seen["state"] == "transferring"
        assert seen["error"]["code"] == "destination-unavailable"
        assert "archive" in seen["error"]["detail"]
        assert api.cancel(view["id"]).status == 204


def test_the_sums_of_a_file_in_many_extents_are_its_own(product: Product, api: ApiClient) -> None:
    """Combined on the way, extent by extent."""
    crc32c = pytest.importorskip("crc32c")
    content = b"".join(bytes([number]) * CHUNK for number in range(5)) + b"end"
    view = api.create("a.bin", len(content), chunk_size=CHUNK)
    for number in (5, 2, 0, 1, 4, 3):
        api.put_chunk(view["id"], number, content[number * CHUNK : (number + 1) * CHUNK])
    api.complete(view["id"])
    live = _live(product, view["id"])
    assert live.row.crc32c == crc32c.crc32c(content)
    assert live.row.sha256 == hashlib.sha256(content).hexdigest()


def test_a_file_published_just_before_a_crash_is_not_cancelled_afterwards(
    start_product: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database does not know yet; the link does."""
    before = start_product()
    _refuse_to_save(before, monkeypatch, UploadState.COMPLETED)
    with before.client() as api:
        view = api.create("a.bin", CHUNK)
        api.put_all(view, b"x" * CHUNK)
        live = _live(before, view["id"])
        before.wait_for(lambda: live.problem is not None)
    before.__exit__()
    monkeypatch.undo()

    def configure(server: Any) -> None:
        async def away(*_: object) -> None:
            raise DatabaseUnavailable

        monkeypatch.setattr(server.destinations["default"], "take_over", away)

    after = start_product(configure=configure)
    with after.client() as api:
        live = _live(after, view["id"])
        after.wait_for(lambda: live.problem is not None)
        refusal(api.cancel(view["id"]), 409, "state-conflict")
        monkeypatch.undo()
        assert api.complete(view["id"]).json["state"] == "completed"
    assert [path.name for path in after.files.glob("a*")] == ["a.bin"]


def test_two_digests_for_one_file_are_a_mismatch(api: ApiClient) -> None:
    """What was declared at creation is not forgotten for what `complete` says."""
    content = b"x" * CHUNK
    wrong = "sha-256=:" + "A" * 43 + "=:"
    view = api.create("a.bin", CHUNK, digest=wrong, completion="explicit")
    api.put_all(view, content)
    refusal(api.complete(view["id"], digest=sha256_field(content)), 422, "digest-mismatch")
    assert api.upload(view["id"])["state"] == "receiving"
