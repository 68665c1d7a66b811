"""tus: what came is recorded while what follows comes, and never with a gap."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import app.services.appender
import app.services.chunk_sink
from app.core.errors import DatabaseUnavailable
from app.testing.product import Product
from app.testing.tus_client import BYTES, Tus

MIB = 1 << 20
CHUNK = MIB


@pytest.fixture
def product(start_product: Callable[..., Product], monkeypatch: pytest.MonkeyPatch) -> Product:
    """With chunks of 1 MiB, each of which is received by itself."""
    monkeypatch.setattr(app.services.appender, "_STRETCH_BYTES", CHUNK)
    return start_product(chunk_size_mb=1)


class Gate:
    """In front of the database: pieces of uploads wait there, or are refused."""

    def __init__(self, product: Product) -> None:
        self.opened = asyncio.Event()
        self.refused: set[int] = set()
        """Offsets of those that are."""
        self.asked: list[int] = []
        """Offsets, in order."""
        repository: Any = product.server.repository
        self._record = repository.record_extents
        repository.record_extents = self._pass

    async def _pass(self, upload_id: str, extents: Any, **how: Any) -> None:
        offset = extents[0].offset
        self.asked.append(offset)
        await self.opened.wait()
        if offset in self.refused:
            raise DatabaseUnavailable
        await self._record(upload_id, extents, **how)


@pytest.fixture
def gate(product: Product) -> Iterator[Gate]:
    """Closed; open at the end, so that the product can stop."""
    made = Gate(product)
    yield made
    product.call(_open(made))


async def _open(gate: Gate) -> None:
    gate.opened.set()


def test_a_chunk_is_received_while_the_one_before_is_recorded(
    product: Product, gate: Gate, stored: Callable[[str], bytes]
) -> None:
    """One, and no more: what a server that dies has not recorded is bounded."""
    content = os.urandom(6 * CHUNK)
    with product.client() as api:
        tus = Tus(api)
        path = tus.begin(len(content))
        sock = tus.begin_patch(path, 0, len(content), content)
        (live,) = product.server.context.uploads.live
        staged = product.spool / live.row.id
        product.wait_for(lambda: staged.stat().st_size >= 2 * CHUNK and not product.server.pool.stats.slabs_leased)
        assert (staged.stat().st_size, live.recorded.prefix, gate.asked) == (2 * CHUNK, 0, [0])
        product.call(_open(gate))
        assert sock.recv(65536).startswith(b"HTTP/1.1 204")
        sock.close()
    assert gate.asked == [number * CHUNK for number in range(6)]
    assert stored("report.bin") == content


def test_nothing_is_recorded_behind_what_the_database_refused(
    product: Product, gate: Gate, stored: Callable[[str], bytes]
) -> None:
    """The client is told at once, in the middle of what it sends, and goes on where the last recorded byte is."""
    content = os.urandom(4 * CHUNK)
    with product.client() as api:
        tus = Tus(api)
        path = tus.begin(len(content))
        gate.refused = {CHUNK}
        product.call(_open(gate))
        sock = tus.begin_patch(path, 0, len(content), content[: 2 * CHUNK + 1])
        assert sock.recv(65536).startswith(b"HTTP/1.1 503")
        sock.close()
        assert gate.asked == [0, CHUNK]
        gate.refused = set()
        assert tus.position(path) == CHUNK
        assert tus.patch(path, CHUNK, content[CHUNK:]).status == 204
    assert stored("report.bin") == content


def test_what_came_last_is_recorded_before_anybody_is_told(product: Product, gate: Gate) -> None:
    """HEAD ends a request that hangs, and waits for what that brought, recorded or being so."""
    content = os.urandom(2 * CHUNK)
    with product.client() as api, product.client() as other:
        path = Tus(api).begin(len(content))
        sock = Tus(api).begin_patch(path, 0, len(content), content[: CHUNK + 1000])
        product.wait_for(lambda: gate.asked == [0])
        (live,) = product.server.context.uploads.live
        sock.close()
        product.wait_for(lambda: live.receivers[-1].stored)
        product.call(_open(gate))
        assert Tus(other).position(path) == CHUNK + 1000
        assert gate.asked == [0, CHUNK]


def test_what_was_cut_off_is_treated_as_what_comes_last(
    start_product: Callable[..., Product], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In sequential mode it is with the destination's side before the answer; and a part of a chunk is no chunk."""
    monkeypatch.setattr(app.services.chunk_sink, "_CHECKPOINT_S", 0.0)
    monkeypatch.setattr(app.services.chunk_sink, "_LEAST_CHECKPOINT_BYTES", 1)
    product = start_product(enable_parallel_uploads=False)
    content = os.urandom(3 * CHUNK)
    with product.client() as api:
        tus = Tus(api)
        path = tus.begin(len(content))
        api.connection.putrequest("PATCH", path)
        for name, value in {**BYTES, "Upload-Offset": "0", "Transfer-Encoding": "chunked"}.items():
            api.connection.putheader(name, value)
        api.connection.endheaders()
        api.connection.send(b"%x\r\n%b\r\n" % (CHUNK, content[:CHUNK]))
        (live,) = product.server.context.uploads.live
        product.wait_for(lambda: live.recorded.prefix == CHUNK)
        api.connection.send(b"0\r\n\r\n")
        answer = api.connection.getresponse()
        answer.read()
        assert (answer.status, answer.headers["Upload-Offset"], live.digest.position) == (204, str(CHUNK), CHUNK)
        assert product.server.context.throughput.chunks_total == 0
        assert tus.patch(path, CHUNK, content[CHUNK:]).status == 204
        assert product.server.context.throughput.chunks_total == 1
