"""The body by `receive`, as on any other ASGI server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from app.core.body import BODY_EXTENSION
from app.core.errors import BodyTooLarge, ClientGone, MalformedRequest, RequestTimedOut
from app.ingress import Bodies, IngressConfig
from app.services.chunk_buffer_pool import ChunkBufferPool

Receive = Callable[[], Awaitable[dict[str, Any]]]


def receiving(*events: dict[str, Any]) -> Receive:
    """A `receive` that gives these events, then waits for ever."""
    left = iter(events)

    async def receive() -> dict[str, Any]:
        for event in left:
            return event
        await asyncio.Event().wait()
        raise AssertionError

    return receive


def part(body: bytes, *, more: bool = True) -> dict[str, Any]:
    """One event."""
    return {"type": "http.request", "body": body, "more_body": more}


def scope(*headers: tuple[bytes, bytes], version: str = "1.1") -> dict[str, Any]:
    """A request's scope."""
    return {"type": "http", "http_version": version, "headers": list(headers)}


CHUNKED = (b"transfer-encoding", b"chunked")


@pytest.fixture
async def pool() -> AsyncIterator[ChunkBufferPool]:
    """Slabs of 10 bytes; all are back in the end."""
    made = ChunkBufferPool(10, 2, timeout_s=5)
    made.open()
    yield made
    assert made.stats.slabs_leased == 0
    made.close()


@pytest.fixture
async def bodies(pool: ChunkBufferPool) -> AsyncIterator[Bodies]:
    """What the composition root makes."""
    made = Bodies(IngressConfig(pool=pool, body_idle_s=0.2, min_rate_bytes=0))
    yield made
    made.close()


async def test_pieces_of_any_size_arrive_in_slabs(bodies: Bodies) -> None:
    """A piece longer than a slab comes in several; empty ones do no harm."""
    body = bodies.body_of(scope(CHUNKED), receiving(part(b""), part(b"a" * 25), part(b"bc", more=False)))
    got: list[bytes] = []
    assert await body.deliver(lambda view: got.append(bytes(view)), limit=100, owner="ann") == 27
    assert got == [b"a" * 10, b"a" * 10, b"a" * 5, b"bc"]


async def test_the_server_s_own_body_is_preferred_and_one_is_made_once(bodies: Bodies) -> None:
    """`body_of` finds the extension; what it makes stays with the scope."""
    request = scope(CHUNKED)
    made = bodies.body_of(request, receiving())
    assert bodies.body_of(request, receiving()) is made is request["extensions"][BODY_EXTENSION]


@pytest.mark.parametrize(
    ("headers", "version", "length"),
    [
        ([CHUNKED], "1.1", None),
        ([(b"content-length", b"12")], "1.1", 12),
        ([], "1.1", 0),
        ([], "2", None),
    ],
)
async def test_the_length_is_what_the_header_says(
    bodies: Bodies, headers: list[tuple[bytes, bytes]], version: str, length: int | None
) -> None:
    """HTTP/2 may leave it open; HTTP/1 without it has no body."""
    assert bodies.body_of(scope(*headers, version=version), receiving()).length == length


async def test_a_length_that_is_no_number_is_refused(bodies: Bodies) -> None:
    """Other servers may be less strict."""
    with pytest.raises(MalformedRequest):
        bodies.body_of(scope((b"content-length", b"+5")), receiving())


async def test_a_body_of_another_length_than_declared_is_refused(bodies: Bodies) -> None:
    """The server should not let it happen, but must not be believed."""
    body = bodies.body_of(scope((b"content-length", b"5")), receiving(part(b"four", more=False)))
    with pytest.raises(MalformedRequest):
        await body.deliver(lambda view: None, limit=100, owner="ann")


async def test_the_limit_holds_without_a_declared_length(bodies: Bodies) -> None:
    """Nothing beyond it reaches the sink."""
    got = bytearray()
    body = bodies.body_of(scope(CHUNKED), receiving(part(b"x" * 8), part(b"y" * 8)))
    with pytest.raises(BodyTooLarge):
        await body.deliver(got.extend, limit=10, owner="ann")
    assert got == b"x" * 8


async def test_a_disconnect_is_a_client_gone(bodies: Bodies) -> None:
    """And whoever waits for that learns it."""
    body = bodies.body_of(scope(CHUNKED), receiving(part(b"x"), {"type": "http.disconnect"}))
    with pytest.raises(ClientGone):
        await body.deliver(lambda view: None, limit=100, owner="ann")
    await body.wait_gone()


async def test_silence_times_out(bodies: Bodies) -> None:
    """After the idle time, whatever the server allows."""
    body = bodies.body_of(scope(CHUNKED), receiving(part(b"x")))
    with pytest.raises(RequestTimedOut):
        await body.deliver(lambda view: None, limit=100, owner="ann")


async def test_a_body_is_delivered_once(bodies: Bodies) -> None:
    """The second call is a bug, and says so."""
    body = bodies.body_of(scope(), receiving())
    assert await body.deliver(lambda view: None, limit=0, owner="ann") == 0
    with pytest.raises(RuntimeError):
        await body.deliver(lambda view: None, limit=0, owner="ann")
