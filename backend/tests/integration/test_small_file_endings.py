"""A file in one request is published before it is recorded: what happens when the database, or the disk, says no then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from app.core.errors import DatabaseUnavailable
from app.testing.api_client import ApiClient
from app.testing.product import Product

Start = Callable[..., Product]


def put(api: ApiClient, content: bytes, **query: str) -> tuple[int, str]:
    """Status and code of the answer."""
    extra = "&".join(f"{name}={value}" for name, value in query.items())
    reply = api.request("PUT", f"/api/v1/files/x.bin?{extra}", content)
    return reply.status, reply.code


def fail_additions(product: Product, monkeypatch: pytest.MonkeyPatch, *, committed: bool) -> None:
    """The next addition fails, before or after it is committed."""
    repository = product.server.repository
    add = repository.add_upload

    async def failing(*args: Any, **more: Any) -> Any:
        monkeypatch.setattr(repository, "add_upload", add)
        if committed:
            await add(*args, **more)
        raise DatabaseUnavailable

    monkeypatch.setattr(repository, "add_upload", failing)


def files_of(product: Product) -> dict[str, bytes]:
    """What everybody sees."""
    return {path.name: path.read_bytes() for path in product.files.iterdir() if path.is_file()}


@pytest.mark.parametrize("policy", ["rename", "fail"])
def test_what_can_not_be_recorded_is_withdrawn(
    product: Product, api: ApiClient, monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    """The client is told to come again, and then there is one file."""
    fail_additions(product, monkeypatch, committed=False)
    assert put(api, b"new", on_conflict=policy) == (503, "database-unavailable")
    assert files_of(product) == {}
    assert put(api, b"new", on_conflict=policy) == (201, "")
    assert files_of(product) == {"x.bin": b"new"}
    product.wait_for(product.quiescent)
    product.wait_for(lambda: not any(product.spool.iterdir()))


def test_a_commit_whose_answer_was_lost_counts(
    product: Product, api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is there, and the upload says so."""
    fail_additions(product, monkeypatch, committed=True)
    assert put(api, b"new") == (201, "")
    assert files_of(product) == {"x.bin": b"new"}
    (upload,) = api.get("/api/v1/uploads")["uploads"]
    assert upload["state"] == "completed"


def test_a_file_that_was_to_be_replaced_survives(
    product: Product, api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was replaced can't be brought back: it is recorded first."""
    assert put(api, b"old") == (201, "")
    fail_additions(product, monkeypatch, committed=False)
    assert put(api, b"new", on_conflict="replace") == (503, "database-unavailable")
    assert files_of(product) == {"x.bin": b"old"}
    assert put(api, b"new", on_conflict="replace") == (201, "")
    assert files_of(product) == {"x.bin": b"new"}


def test_a_file_that_was_linked_can_not_be_cancelled_any_more(
    product: Product, api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name could not be made durable yet: the transfer goes on, and nobody is told that it is gone."""
    assert put(api, b"first") == (201, "")
    entries = product.server.destinations["default"]._entries
    sync = entries.sync

    def failing(directory: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(entries, "sync", failing)
    view = api.create("y.bin", 3)
    api.put_all(view, b"new")
    live = product.server.context.uploads.under_way(view["id"])
    product.wait_for(lambda: live.problem is not None)
    assert files_of(product) == {"x.bin": b"first", "y.bin": b"new"}
    assert api.cancel(view["id"]).status == 409
    monkeypatch.setattr(entries, "sync", sync)
    product.wait_for(lambda: live.row.ended)
    assert live.row.state == "completed"
