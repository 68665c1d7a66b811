"""What is held of a connection whose chunk is on its way: no more than it takes to go on."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.requests import Request

from app.testing.api_client import ApiClient, refusal
from app.testing.product import Product

CHUNK = 262_144
ORIGIN = "https://app.example.org"
Start = Callable[..., Product]


def _requests_held(path: str) -> int:
    """How many objects of the framework's stand for a request of that path."""
    gc.collect()
    return sum(isinstance(found, Request) and found.scope["path"] == path for found in gc.get_objects())


def test_the_framework_is_through_with_a_request_whose_chunk_still_comes(product: Product, api: ApiClient) -> None:
    """Its coroutines, exit stacks and Requests were 11 KiB of each connection; the chunk comes all the same."""
    content = bytes(range(256)) * (CHUNK // 256)
    view = api.create("a.bin", CHUNK, chunk_size=CHUNK)
    path = f"/api/v1/uploads/{view['id']}/chunks/0"
    with product.client() as sender, sender.begin_chunk(view["id"], 0, CHUNK, content[:1000]) as sock:
        product.wait_for(lambda: product.server.context.throughput.in_flight == 1)
        product.wait_for(lambda: _requests_held(path) == 0)
        sock.sendall(content[1000:])
        answer = sock.recv(65536).decode().lower()
    assert answer.startswith("http/1.1 204 ")
    for field in ("etag: ", "upload-state: ", "x-request-id: ", "x-content-type-options: nosniff"):
        assert field in answer
    api.complete(view["id"])
    assert (product.files / "a.bin").read_bytes() == content


def test_an_answer_that_was_made_late_goes_the_way_of_all_answers(start_product: Start, tmp_path: Path) -> None:
    """Fields for a page from elsewhere and for browsers, the request's id, and a line in the metrics: all as if at once."""
    product = start_product(tmp_path / "late", auth="none", cors_origins=(ORIGIN,))
    with product.client() as api:
        view = api.create("a.bin", CHUNK, chunk_size=CHUNK)
        target = f"/api/v1/uploads/{view['id']}/chunks/0"
        origin = {"origin": ORIGIN, "x-request-id": "late-answer"}
        wrong = {**origin, "content-digest": "crc32c=:AAAAAA==:"}
        refused = refusal(api.request("PUT", target, b"x" * CHUNK, wrong), 422, "digest-mismatch")
        stored = api.request("PUT", target, b"x" * CHUNK, origin)
        metrics = api.request("GET", "/metrics").body.decode()
    for reply, status in ((refused, 422), (stored, 204)):
        assert reply.status == status
        assert reply.headers["access-control-allow-origin"] == ORIGIN
        assert reply.headers["x-frame-options"] == "DENY"
        assert reply.headers["x-request-id"] == "late-answer"
        counted = f'method="PUT",route="/api/v1/uploads/{{upload_id}}/chunks/{{number}}",status="{status}"'
        assert f"forebay_request_seconds_count{{{counted}}}" in metrics


def test_a_failure_of_ours_while_a_late_answer_is_made_is_answered(
    product: Product, api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 500 and the id under which the log has it, not with a closed connection."""

    async def broken(*_: object) -> int:
        raise ValueError("nobody expected that")

    view = api.create("a.bin", CHUNK, chunk_size=CHUNK)
    monkeypatch.setattr(product.server.context.processor, "receive", broken)
    reply = refusal(api.put_chunk(view["id"], 0, b"x" * CHUNK), 500, "internal-error")
    assert reply.json["request_id"] == reply.headers["x-request-id"]
