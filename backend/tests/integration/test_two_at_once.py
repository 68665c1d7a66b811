"""Two connections on one upload, cancels in the middle of everything, and leases that come back after every ending."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from typing import Any

import pytest

from app.core.errors import StagingUnavailable
from app.core.upload import Chunk
from app.destinations.disk.session import DiskSession
from app.testing.api_client import ApiClient, Reply, refusal, sha256_field
from app.testing.product import Product

CHUNK = 262_144
Start = Callable[..., Product]


@pytest.fixture(scope="module")
def product(start_module_product: Callable[..., Product]) -> Product:
    """One for all: every test must leave it as it found it."""
    return start_module_product(body_idle_s=0.3, slot_idle_s=3600, max_concurrent_uploads=8)


@pytest.fixture(autouse=True)
def everything_comes_back(product: Product) -> Iterator[None]:
    """Buffers, slots, subscriptions: `upload-status` shows none out, once the test's own uploads have ended."""
    yield
    with product.client() as api:
        for view in api.get("/api/v1/uploads?limit=500")["uploads"]:
            if view["state"] not in {"completed", "failed", "cancelled", "expired"}:
                api.cancel(view["id"])
        product.wait_for(product.quiescent)
        status = api.status()
        assert status["concurrency_manager"]["active_uploads"] == 0
        assert status["concurrency_manager"]["active_users"] == 0
        assert status["concurrency_manager"]["queued"] == 0
        assert (status["buffer_pool"]["slabs_leased"], status["buffer_pool"]["waiting"]) == (0, 0)
        assert status["chunk_processor"]["chunks_in_flight"] == 0
    product.wait_for(lambda: not any(product.spool.iterdir()))


def receiving(product: Product, upload_id: str, number: int = 0) -> bool:
    """Whether somebody sends that chunk."""
    live = next((live for live in product.server.context.uploads.live if live.row.id == upload_id), None)
    return live is not None and number in live.receivers


# -- two clients on one upload -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_clients_on_one_chunk_make_one_history(product: Product) -> None:
    """FAULTS 21, a thousand rounds: one of the two contents is recorded, whole, and the other is told so."""
    chance = random.Random(21)
    contents = chance.randbytes(CHUNK), chance.randbytes(CHUNK)
    barrier = threading.Barrier(2)
    outcomes: set[tuple[int, str]] = set()
    with product.client() as first, product.client() as second, ThreadPoolExecutor(1) as pool:

        def put(api: ApiClient, upload_id: str, content: bytes) -> Reply:
            barrier.wait()
            return api.put_chunk(upload_id, 0, content)

        for number in range(1000):
            same = number % 4 == 0
            view = first.create("a.bin", 2 * CHUNK, chunk_size=CHUNK)
            beside = pool.submit(put, second, view["id"], contents[0 if same else 1])
            one, other = put(first, view["id"], contents[0]), beside.result()
            for reply in (one, other):
                assert (reply.status, reply.code) in {(204, ""), (409, "superseded"), (409, "chunk-conflict")}
                outcomes.add((reply.status, reply.code))
            assert 204 in {one.status, other.status}
            if same:
                assert "chunk-conflict" not in {one.code, other.code}
            else:
                assert {one.status, other.status} == {204, 409}
            winner = contents[0] if one.status == 204 else contents[0 if same else 1]
            assert first.put_chunk(view["id"], 0, winner).status == 204, "the recorded bytes are those acknowledged"
            if number % 50 == 0:  # and they arrive
                assert first.put_chunk(view["id"], 1, contents[1]).status == 204
                done = first.complete(view["id"]).json
                assert (product.files / done["result"]["name"]).read_bytes() == winner + contents[1]
            else:
                assert first.cancel(view["id"]).status == 204
    assert outcomes == {(204, ""), (409, "superseded"), (409, "chunk-conflict")}, "each way was gone"


def test_two_clients_that_share_the_work_lose_nothing(product: Product) -> None:
    """Both send everything, in opposite orders."""
    content = os.urandom(12 * CHUNK)
    with product.client() as api:
        view = api.create("shared.bin", len(content), chunk_size=CHUNK)

        def send(numbers: range) -> set[str]:
            with product.client() as mine:
                replies = [mine.put_chunk(view["id"], n, content[n * CHUNK : (n + 1) * CHUNK]) for n in numbers]
            return {reply.code for reply in replies}

        with ThreadPoolExecutor(2) as pool:
            forth, back = pool.submit(send, range(12)), pool.submit(send, range(11, -1, -1))
            assert forth.result() | back.result() <= {"", "superseded"}
        done = api.complete(view["id"]).json
        assert (product.files / done["result"]["name"]).read_bytes() == content


@pytest.mark.parametrize("sent", [0, 1000, CHUNK - 1])
def test_a_newer_connection_takes_over_from_one_that_hangs(product: Product, sent: int) -> None:
    """FAULTS 14: nothing waits for the old one's time limit, and the old one is told."""
    content = os.urandom(CHUNK)
    with product.client() as hanging, product.client() as api:
        view = api.create("a.bin", 2 * CHUNK, chunk_size=CHUNK)
        sock = hanging.begin_chunk(view["id"], 0, CHUNK, content[:sent])
        product.wait_for(lambda: receiving(product, view["id"]))
        assert api.put_chunk(view["id"], 0, content).status == 204
        assert b"409" in sock.recv(100)
        assert api.upload(view["id"])["missing_chunks"] == [{"first": 1, "last": 1}]


def test_a_repeat_over_recorded_bytes_changes_nothing(product: Product) -> None:
    """Trap of DESIGN section 2: half a repeat with other bytes, broken off, over a recorded chunk."""
    content = os.urandom(2 * CHUNK)
    with product.client() as api, product.client() as bad:
        view = api.create("a.bin", 2 * CHUNK, chunk_size=CHUNK)
        assert api.put_chunk(view["id"], 0, content[:CHUNK]).status == 204
        bad.begin_chunk(view["id"], 0, CHUNK, b"\xff" * (CHUNK // 2))
        product.wait_for(lambda: receiving(product, view["id"]))
        bad.reset()
        refusal(api.put_chunk(view["id"], 0, b"\xff" * CHUNK), 409, "chunk-conflict")
        assert api.put_chunk(view["id"], 1, content[CHUNK:]).status == 204
        done = api.complete(view["id"]).json
        assert (product.files / done["result"]["name"]).read_bytes() == content


def test_a_repeat_goes_through_while_the_upload_completes_and_afterwards(product: Product) -> None:
    """A client whose last answer was lost is told the same again, not that it is too late."""
    content = os.urandom(2 * CHUNK)
    with product.client() as api, product.client() as again:
        view = api.create("a.bin", 2 * CHUNK, chunk_size=CHUNK)
        assert api.put_chunk(view["id"], 0, content[:CHUNK]).status == 204
        sock = again.begin_chunk(view["id"], 0, CHUNK, content[:1000])
        product.wait_for(lambda: receiving(product, view["id"]))
        assert api.put_chunk(view["id"], 1, content[CHUNK:]).status == 204
        assert api.complete(view["id"]).json["state"] == "completed"
        sock.sendall(content[1000:CHUNK])
        assert sock.recv(12) == b"HTTP/1.1 204"
        assert api.put_chunk(view["id"], 1, content[CHUNK:]).headers["upload-state"] == "completed"
        refusal(api.put_chunk(view["id"], 1, content[:CHUNK]), 409, "chunk-conflict")


# -- cancelling ----------------------------------------------------------------------------------------------------------


def test_cancelled_while_receiving_it_stays_cancelled(product: Product) -> None:
    """Trap of DESIGN section 7: cancel that answers "cancelled" and completes. Those who send are told."""
    content = os.urandom(3 * CHUNK)
    with product.client() as api, product.client() as sender:
        view = api.create("never.bin", len(content), chunk_size=CHUNK)
        assert api.put_chunk(view["id"], 1, content[CHUNK : 2 * CHUNK]).status == 204
        sock = sender.begin_chunk(view["id"], 0, CHUNK, content[:1000])
        product.wait_for(lambda: receiving(product, view["id"]))
        assert api.cancel(view["id"]).status == 204
        assert not (product.spool / view["id"]).exists(), "nothing is kept when the answer is there"
        assert b"409" in sock.recv(100)
        for number in range(3):
            refusal(api.put_chunk(view["id"], number, content[number * CHUNK : (number + 1) * CHUNK]), 409)
        refusal(api.complete(view["id"]), 409, "state-conflict")
        assert api.cancel(view["id"]).status == 204, "again is no mistake"
        assert api.upload(view["id"])["state"] == "cancelled"
        assert api.progress(view["id"])["progress_percent"] < 100
    assert not (product.files / "never.bin").exists()


def test_cancelled_while_transferring_nothing_arrives(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is received and on its way: the copy at the destination goes too."""
    writing, may_write = threading.Event(), threading.Event()
    real = DiskSession._write

    def slow(session: DiskSession, fd: int, piece: memoryview) -> None:
        writing.set()
        may_write.wait(30)
        real(session, fd, piece)

    async def copied(live: Any, destination: Any) -> bool:
        return False

    monkeypatch.setattr(DiskSession, "_write", slow)
    monkeypatch.setattr(product.server.transfers, "_linkable", copied)
    with product.client() as api, ThreadPoolExecutor(1) as pool:
        view = api.create("transferring.bin", CHUNK * 2, chunk_size=CHUNK)
        api.put_all(view, b"x" * CHUNK * 2)
        assert writing.wait(30)
        assert api.upload(view["id"])["state"] == "transferring"
        assert api.progress(view["id"])["progress_percent"] < 100
        cancelling = pool.submit(api.cancel, view["id"])
        with product.client() as looking:
            product.wait_for(lambda: product.server.context.uploads.under_way(view["id"]).row.ended)
            assert looking.upload(view["id"])["state"] == "cancelled"
        may_write.set()
        assert cancelling.result().status == 204
    assert not (product.files / "transferring.bin").exists()
    assert list((product.files / ".forebay").iterdir()) == []


def test_cancelled_while_queued_it_is_out_of_the_queue(product: Product) -> None:
    """Whoever waits for its slot is told at once."""
    with product.client() as api:
        holders = [api.create(f"{n}.bin", CHUNK * 2, chunk_size=CHUNK) for n in range(8)]
        for view in holders:
            assert api.put_chunk(view["id"], 0, b"x" * CHUNK).status == 204
        with product.client() as waiting:
            view = api.create("queued.bin", CHUNK * 2, chunk_size=CHUNK)
            sock = waiting.begin_chunk(view["id"], 0, CHUNK, b"x" * 1000)
            product.wait_for(lambda: product.server.slots.stats.queued == 1)
            assert api.upload(view["id"])["queue_position"] == 1
            assert api.cancel(view["id"]).status == 204
            assert b"409" in sock.recv(100)
            assert product.server.slots.stats.queued == 0


@pytest.mark.slow
def test_a_cancel_that_races_completion_is_one_or_the_other(product: Product) -> None:
    """204 and no file, or 409 and the file: two hundred times, from both sides."""
    barrier = threading.Barrier(2)
    seen: set[int] = set()
    with product.client() as api, product.client() as canceller, ThreadPoolExecutor(1) as pool:
        for number in range(200):
            view = api.create(f"race-{number}.bin", 2 * CHUNK, chunk_size=CHUNK)
            api.put_chunk(view["id"], 0, b"a" * CHUNK)

            def cancel(upload_id: str = view["id"], spins: int = number * 40) -> Reply:
                barrier.wait()
                for _ in range(spins):
                    pass
                return canceller.cancel(upload_id)

            beside = pool.submit(cancel)
            barrier.wait()
            api.put_chunk(view["id"], 1, b"b" * CHUNK)
            answer = beside.result()
            if answer.status == 409:
                assert api.complete(view["id"]).json["state"] == "completed"
            after = api.upload(view["id"])
            exists = (product.files / f"race-{number}.bin").exists()
            assert (answer.status, after["state"], exists) in {(204, "cancelled", False), (409, "completed", True)}
            seen.add(answer.status)
    assert 204 in seen


def test_two_cancels_at_once_are_one(product: Product) -> None:
    """And the second answers when nothing is kept any more, as the first."""
    with ThreadPoolExecutor(4) as pool, product.client() as api:
        for _ in range(20):
            view = api.create("a.bin", CHUNK)

            def cancel(upload_id: str = view["id"]) -> tuple[int, bool]:
                with product.client() as mine:
                    return mine.cancel(upload_id).status, (product.spool / upload_id).exists()

            assert [future.result() for future in [pool.submit(cancel) for _ in range(4)]] == [(204, False)] * 4


def test_cancelling_what_has_just_failed_answers_when_nothing_is_kept(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The failure's own clearing away may take its time."""
    staging, may_discard = product.server.staging, threading.Event()
    real = staging.discard

    async def slow(upload_id: str) -> None:
        await asyncio.to_thread(may_discard.wait)
        await real(upload_id)

    monkeypatch.setattr(staging, "discard", slow)
    with product.client() as api, ThreadPoolExecutor(1) as pool:
        view = api.create("a.bin", 10, completion="explicit", digest=sha256_field(b"other"))
        api.put_chunk(view["id"], 0, b"0123456789")
        refusal(api.complete(view["id"]), 422, "digest-mismatch")
        cancelling = pool.submit(api.cancel, view["id"])
        product.wait_for(lambda: len(product.receiver.server_state.tasks) == 1)
        assert not cancelling.done()
        may_discard.set()
        assert cancelling.result().status == 204
        assert not (product.spool / view["id"]).exists()


# -- every ending gives back ---------------------------------------------------------------------------------------------


def _leave(api: ApiClient, sock: socket.socket, view: dict[str, Any]) -> None:
    del sock, view
    api.close()


def _reset(api: ApiClient, sock: socket.socket, view: dict[str, Any]) -> None:
    del sock, view
    api.reset()


def _half_close(api: ApiClient, sock: socket.socket, view: dict[str, Any]) -> None:
    del view
    sock.shutdown(socket.SHUT_WR)
    with suppress(ConnectionResetError):
        while sock.recv(1000):
            pass


def _hang(api: ApiClient, sock: socket.socket, view: dict[str, Any]) -> None:
    del view
    assert b"408" in sock.recv(100)
    api.close()


def _wrong_digest(api: ApiClient, sock: socket.socket, view: dict[str, Any]) -> None:
    del sock
    api.close()
    refusal(api.put_chunk(view["id"], 1, b"y" * CHUNK, {"Content-Digest": sha256_field(b"x")}), 422, "digest-mismatch")


def _wrong_length(api: ApiClient, sock: socket.socket, view: dict[str, Any]) -> None:
    del sock
    api.close()
    refusal(api.put_chunk(view["id"], 1, b"y"), 400, "chunk-short")
    refusal(api.put_chunk(view["id"], 1, b"y" * (CHUNK + 1)), 413, "chunk-long")


def _conflict(api: ApiClient, sock: socket.socket, view: dict[str, Any]) -> None:
    del sock
    api.close()
    assert api.put_chunk(view["id"], 1, b"y" * CHUNK).status == 204
    refusal(api.put_chunk(view["id"], 1, b"z" * CHUNK), 409, "chunk-conflict")


@pytest.mark.parametrize("ending", [_leave, _reset, _half_close, _hang, _wrong_digest, _wrong_length, _conflict])
def test_however_a_chunk_ends_buffers_and_connections_come_back(
    product: Product, ending: Callable[[ApiClient, socket.socket, dict[str, Any]], None]
) -> None:
    """FAULTS 13 and its like: then the same chunk is taken from somebody else."""
    with product.client() as api:
        view = api.create("a.bin", 2 * CHUNK, chunk_size=CHUNK)
        bad = product.client()
        with closing(bad):
            sock = bad.begin_chunk(view["id"], 0, CHUNK, b"x" * 5000)
            product.wait_for(lambda: receiving(product, view["id"]))
            ending(bad, sock, view)
        product.wait_for(product.quiescent)
        assert api.status()["chunk_processor"]["error_rate"] == 0, "a client's mistake is no error of ours"
        assert api.put_chunk(view["id"], 0, b"x" * CHUNK).status == 204


@pytest.mark.parametrize("waits", ["complete", "single request"])
def test_who_waits_for_the_destination_and_leaves_is_forgotten(
    product: Product, monkeypatch: pytest.MonkeyPatch, waits: str
) -> None:
    """A destination may be away for hours; requests of clients that are gone must not pile up."""
    monkeypatch.setattr(product.server.transfers, "poke", lambda _: None)
    with product.client() as api, ExitStack() as clients:
        view = api.create("a.bin", CHUNK)
        assert api.put_chunk(view["id"], 0, b"x" * CHUNK).headers["upload-state"] == "transferring"
        line = {"complete": f"POST /api/v1/uploads/{view['id']}/complete", "single request": "PUT /api/v1/files/b.bin"}
        leaving = [clients.enter_context(product.client()) for _ in range(10)]
        for client in leaving:
            client.connection.connect()
            head = f"{line[waits]} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{{}}"
            client.connection.sock.sendall(head.encode())
        product.wait_for(lambda: len(product.receiver.server_state.tasks) == 10)
        for number, client in enumerate(leaving):
            client.reset() if number % 2 else client.close()
        product.wait_for(lambda: not product.receiver.server_state.tasks)


def test_a_staging_that_fails_is_said_in_the_guides_words(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    """`Chunk X failed after 3 attempts`, with 503, Retry-After and the counters of the progress; then it goes on."""
    staging = product.server.staging
    real = staging.open_writer
    fails = 3

    def failing(upload_id: str, offset: int) -> Any:
        nonlocal fails
        if offset == CHUNK and fails:
            fails -= 1
            raise StagingUnavailable
        return real(upload_id, offset)

    monkeypatch.setattr(staging, "open_writer", failing)
    with product.client() as api:
        view = api.create("a.bin", 2 * CHUNK, chunk_size=CHUNK)
        reply = refusal(api.put_chunk(view["id"], 1, b"x" * CHUNK), 503, "chunk-failed")
        assert reply.json["detail"] == "Chunk 1 failed after 3 attempts"
        assert reply.headers["retry-after"]
        progress = api.progress(view["id"])
        assert (progress["failed_chunks"], progress["retried_chunks"], progress["bytes_received"]) == (1, 2, 0)
        told = [(each["step"], each["chunk"], each["attempt"], each["code"]) for each in progress["failed_attempts"]]
        assert told == [
            ("staging", 1, 1, "staging-unavailable"),
            ("staging", 1, 2, "staging-unavailable"),
            ("receiving", 1, 1, "chunk-failed"),
        ]
        assert api.status()["chunk_processor"]["error_rate"] > 0
        assert api.put_chunk(view["id"], 1, b"x" * CHUNK).status == 204
        assert api.progress(view["id"])["failed_chunks"] == 0


def test_two_failures_of_staging_are_retried_and_not_noticed(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    """The third attempt is as good as the first; the bytes are those sent."""
    staging = product.server.staging
    real = staging.open_writer
    failed: list[Chunk] = []

    def failing(upload_id: str, offset: int) -> Any:
        if len(failed) < 2:
            failed.append(Chunk(0, offset, 0))
            raise StagingUnavailable
        return real(upload_id, offset)

    monkeypatch.setattr(staging, "open_writer", failing)
    content = os.urandom(CHUNK)
    with product.client() as api:
        view = api.create("a.bin", CHUNK, chunk_size=CHUNK)
        assert api.put_chunk(view["id"], 0, content).status == 204
        done = api.complete(view["id"]).json
        assert (product.files / done["result"]["name"]).read_bytes() == content
