"""Promise 1 under kill -9, at random moments and at chosen system calls; stopping, restarting, changing the mode.

Nothing is timed: a kill comes after so many acknowledgements, and clients go on when the server listens again.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import forebay
from app.testing.api_client import ApiClient
from app.testing.server_process import ServerProcess
from app.testing.stubborn_client import CHUNK_BYTES, StubbornClient, Witness
from app.testing.syscalls import at_system_call, may_trace

Start = Callable[..., ServerProcess]
CHUNK = CHUNK_BYTES


needs_strace = pytest.mark.skipif(not may_trace(), reason="needs strace, and the right to trace processes")


class Outages:
    """A server that is killed and started again while clients go on; nobody asks it while it is away."""

    def __init__(self, server: ServerProcess, files: Path | None = None) -> None:
        self.server = server
        self.files = files or server.files
        self.up = threading.Event()
        self.up.set()

    def wait_until_up(self) -> None:
        """For clients."""
        assert self.up.wait(60)

    def crash(self, witness: Witness, number: signal.Signals = signal.SIGKILL) -> int:
        """Kill it, look at what lies at the destination, start it again."""
        self.up.clear()
        status = self.server.stop(number)
        try:
            witness.check(self.files)
        finally:
            self.server.start()
            self.up.set()
        return status


def start_clients(
    pool: ThreadPoolExecutor, outages: Outages, witness: Witness, seeds: range, over: threading.Event
) -> list[Future[None]]:
    """One stubborn client per seed, each in a thread, until it is over."""

    def run(seed: int) -> None:
        address = ("127.0.0.1", outages.server.port)
        with StubbornClient(address, witness, seed, wait_until_up=outages.wait_until_up) as client:
            client.run(over.is_set)

    return [pool.submit(run, seed) for seed in seeds]


@pytest.fixture
def elsewhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path | None]:
    """A directory on another file system, where files are copied and not linked; None when it is not asked for."""
    if not request.param:
        yield None
        return
    if not Path("/dev/shm").is_dir() or Path("/dev/shm").stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system here")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        yield Path(directory)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "elsewhere"),
    [(1, False), (2, False), (3, True)],
    ids=["linked 1", "linked 2", "copied"],
    indirect=["elsewhere"],
)
def test_what_was_acknowledged_survives_kills_at_random_moments(
    start_server: Start, seed: int, elsewhere: Path | None
) -> None:
    """FAULTS 1: seventeen kills each; server state ≥ last acknowledgement, every file equal, nothing half-visible."""
    chance = random.Random(seed)
    settings = {"FOREBAY_DESTINATION": f"disk:{elsewhere}"} if elsewhere else {}
    outages, witness, over = Outages(start_server(**settings), elsewhere), Witness(), threading.Event()
    with ThreadPoolExecutor(4) as pool:
        running = start_clients(pool, outages, witness, range(seed * 10, seed * 10 + 4), over)
        try:
            for _ in range(17):
                witness.wait_for_acknowledgements(chance.randint(1, 25))
                threading.Event().wait(chance.random() * 0.02)  # so that it hits any step of a request
                outages.crash(witness)
        finally:
            over.set()
        for future in running:
            future.result(60)
    witness.check(outages.files)
    assert len(witness.completed) >= 4
    names = {path.name for path in outages.files.iterdir() if path.is_file()}
    assert names == set(witness.completed), "each once, and nothing else"
    assert outages.server.stop() == 0
    assert list((outages.server.directory / "var" / "spool").iterdir()) == []


@pytest.mark.slow
async def test_the_real_client_brings_its_files_through_kills(start_server: Start, tmp_path: Path) -> None:
    """The SDK of `client/`, two files of 48 MiB at once, six kills."""
    server = await asyncio.to_thread(start_server, tmp_path / "server", PARALLEL_UPLOAD_CHUNK_SIZE_MB="1")
    chance = random.Random(48)
    paths = [tmp_path / f"{name}.bin" for name in "ab"]
    for path in paths:
        path.write_bytes(chance.randbytes(48 << 20))
    received: dict[Path, int] = dict.fromkeys(paths, 0)
    moved = asyncio.Event()

    def note(event: forebay.UploadEvent) -> None:
        if isinstance(event, forebay.Progress):
            assert event.received >= received[event.path], "what was acknowledged is never taken back"
            received[event.path] = event.received
            moved.set()

    async def kill_on_the_way() -> None:
        for share in (0.05, 0.2, 0.35, 0.5, 0.65, 0.8):
            while sum(received.values()) < share * 2 * (48 << 20):
                moved.clear()
                await moved.wait()
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)

    policy = forebay.RetryPolicy(patience_s=60, wait_initial_s=0.05, wait_max_s=0.5)
    async with (
        forebay.AsyncClient(server.url, state_dir=tmp_path / "state", policy=policy) as client,
        asyncio.TaskGroup() as group,
    ):
        uploads = [group.create_task(client.upload(path, parallel=2, progress=note)) for path in paths]
        group.create_task(kill_on_the_way())
    for path, upload in zip(paths, uploads, strict=True):
        assert upload.result().upload_id
        assert (
            hashlib.sha256((server.files / path.name).read_bytes()).digest()
            == hashlib.sha256(path.read_bytes()).digest()
        )


# Counted by strace per thread: the database's writer has 12 writes for a creation, then 6 for each chunk.
_CALLS = [
    ("fallocate", 1),  # room is taken, nobody knows of it
    *(("pwrite64", when) for when in (1, 12, 14, 33, 45)),
    ("fdatasync", 1),  # all is received, not synced
    ("fsync", 1),
    ("linkat", 1),  # to the final name
    ("fdatasync", 2),  # it has its name, and the database does not know
    ("unlink,unlinkat", 1),  # completed, the spool's name is still there
]


@needs_strace
@pytest.mark.slow
@pytest.mark.parametrize(("calls", "when"), _CALLS)
def test_a_kill_at_a_system_call_leaves_nothing_half_done(start_server: Start, calls: str, when: int) -> None:
    """FAULTS 2, and the moment between the link to the final name and the database's commit."""
    server = start_server()
    witness = Witness()
    deaths: list[int] = []

    def wait_until_up() -> None:
        deaths.append(server.wait())
        witness.check(server.files)
        server.start()

    address = ("127.0.0.1", server.port)
    with ApiClient(address) as first:  # whether the destination links is tried once: not to be taken for a file's link
        assert first.request("PUT", "/api/v1/files/first", b"first").status == 201
    (server.files / "first").unlink()
    with (
        StubbornClient(address, witness, when, wait_until_up=wait_until_up) as client,
        at_system_call(server.pid, calls, f"signal=KILL:when={when}"),
    ):
        done = client.upload(random.Random(when).randbytes(4 * CHUNK + 5))
        if not deaths:  # completed already; the call comes when the server clears away
            wait_until_up()
    assert deaths == [-signal.SIGKILL], "the kill came, once"
    assert done["state"] == "completed"
    witness.check(server.files)
    assert [path.name for path in server.files.iterdir() if path.is_file()] == [done["result"]["name"]]


# -- stopping, restarting, changing the mode -----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("staging", ["spool", "memory"])
def test_a_file_in_one_request_that_a_kill_has_broken_off_is_not_waited_for(start_server: Start, staging: str) -> None:
    """Nobody goes on with it: it ends, and gives its room back."""
    server = start_server(PARALLEL_UPLOAD_STAGING=staging)
    size = 64 << 20
    with socket.create_connection(("127.0.0.1", server.port)) as sock, ApiClient(("127.0.0.1", server.port)) as api:
        sock.sendall(f"PUT /api/v1/files/a.bin HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n".encode())
        sock.sendall(bytes(20 << 20))
        while not (shown := api.get("/api/v1/uploads?limit=1")["uploads"]) or not shown[0]["bytes_received"]:
            pass
        server.kill()
    server.start()
    with ApiClient(("127.0.0.1", server.port)) as api:
        view = api.upload(shown[0]["id"])
        assert (view["state"], view["error"]["code"]) == ("failed", "room-lost")
        assert api.request("PUT", "/api/v1/files/a.bin", b"again").status == 201


def test_restarts_under_load_lose_nothing(start_server: Start) -> None:
    """SIGTERM again and again while files come: exit 0 each time, and every promise kept."""
    outages, witness, over = Outages(start_server()), Witness(), threading.Event()
    with ThreadPoolExecutor(4) as pool:
        running = start_clients(pool, outages, witness, range(4), over)
        try:
            for _ in range(5):
                witness.wait_for_acknowledgements(20)
                assert outages.crash(witness, signal.SIGTERM) == 0
        finally:
            over.set()
        for future in running:
            future.result(60)
    witness.check(outages.server.files)


def test_sigterm_under_a_hundred_uploads_keeps_what_was_acknowledged(start_server: Start) -> None:
    """FAULTS 26: half-sent chunks are given up at the end of the grace time, exit 0, and they go on afterwards."""
    server = start_server(
        PARALLEL_UPLOAD_MAX_CONCURRENT_UPLOADS="100",
        PARALLEL_UPLOAD_SHUTDOWN_GRACE_S="0.5",
    )
    address = ("127.0.0.1", server.port)
    content = random.Random(26).randbytes(2 * CHUNK)
    uploads: list[tuple[ApiClient, dict[str, Any]]] = []
    try:
        for number in range(100):
            api = ApiClient(address)
            view = api.create(f"{number}.bin", len(content), chunk_size=CHUNK)
            assert api.put_chunk(view["id"], 0, content[:CHUNK]).status == 204
            api.begin_chunk(view["id"], 1, CHUNK, content[CHUNK : CHUNK + 1000])
            uploads.append((api, view))
        assert server.stop() == 0
    finally:
        for api, _ in uploads:
            api.close()
    server.start()
    with ApiClient(address) as api:
        for _, view in uploads:
            assert api.upload(view["id"])["missing_chunks"] == [{"first": 1, "last": 1}]
            assert api.put_chunk(view["id"], 1, content[CHUNK:]).status == 204
            assert api.complete(view["id"]).json["state"] == "completed"
        assert api.status()["buffer_pool"]["slabs_leased"] == 0
    assert {path.read_bytes() for path in server.files.iterdir() if path.is_file()} == {content}


@pytest.mark.parametrize("first", ["True", "False"])
def test_the_flag_flips_at_thirty_percent_and_no_byte_is_sent_again(start_server: Start, first: str) -> None:
    """Both ways, with ranges out of order where that can be; who goes on in the old way is told what to do."""
    server = start_server(ENABLE_PARALLEL_UPLOADS=first)
    content = random.Random(30).randbytes(10 * CHUNK)
    sent = 0

    def put(api: ApiClient, number: int) -> int:
        nonlocal sent
        reply = api.put_chunk(view["id"], number, content[number * CHUNK : (number + 1) * CHUNK])
        sent += CHUNK if reply.status == 204 else 0
        return reply.status

    with ApiClient(("127.0.0.1", server.port)) as api:
        view = api.create("a.bin", len(content), chunk_size=CHUNK)
        assert view["mode"] == ("parallel" if first == "True" else "sequential")
        before = (7, 0, 4) if first == "True" else (0, 1, 2)
        assert [put(api, number) for number in before] == [204, 204, 204]
    assert server.stop() == 0
    server.settings["ENABLE_PARALLEL_UPLOADS"] = "False" if first == "True" else "True"
    server.start()
    with ApiClient(("127.0.0.1", server.port)) as api:
        now = api.upload(view["id"])
        assert now["mode"] == ("sequential" if first == "True" else "parallel")
        assert now["max_concurrent_chunks"] == (1 if first == "True" else 8)
        assert (now["chunk_size"], now["bytes_received"]) == (CHUNK, 3 * CHUNK)
        if first == "True":
            stale = api.put_chunk(view["id"], 9, content[9 * CHUNK :])
            assert (stale.status, stale.code) == (409, "mode-changed")
            assert (stale.json["mode"], stale.json["next_chunk"]) == ("sequential", 1)
        missing = [n for span in now["missing_chunks"] for n in range(span["first"], span["last"] + 1)]
        order = missing if first == "True" else missing[::-1]
        assert [put(api, number) for number in order] == [204] * 7
        assert api.complete(view["id"]).json["state"] == "completed"
    assert sent == len(content)
    assert (server.files / "a.bin").read_bytes() == content


@pytest.mark.parametrize("elsewhere", [False, True], ids=["linked", "copied"], indirect=True)
def test_sequential_chunks_come_in_order_and_are_forwarded_before_they_are_acknowledged(
    start_server: Start, elsewhere: Path | None
) -> None:
    """The guide's "current system": 4 MiB chunks, one at a time, each at the destination's side before the next."""
    settings = {"FOREBAY_DESTINATION": f"disk:{elsewhere}"} if elsewhere else {}
    server = start_server(ENABLE_PARALLEL_UPLOADS="False", **settings)
    files = elsewhere or server.files
    content = random.Random(4).randbytes(9 << 20)
    with ApiClient(("127.0.0.1", server.port)) as api, ApiClient(("127.0.0.1", server.port)) as other:
        view = api.create("a.bin", len(content))
        assert (view["mode"], view["chunk_size"], view["max_concurrent_chunks"]) == ("sequential", 4 << 20, 1)
        size = view["chunk_size"]
        early = api.put_chunk(view["id"], 1, content[size : 2 * size])
        assert (early.status, early.code, early.json["next_chunk"]) == (409, "chunk-out-of-order", 0)
        for number in range(3):
            sock = api.begin_chunk(view["id"], number, len(content[number * size : (number + 1) * size]))
            if number < 2:
                at_once = other.put_chunk(view["id"], number + 1, content[(number + 1) * size : (number + 2) * size])
                assert at_once.code == "chunk-out-of-order", "one at a time"
            sock.sendall(content[number * size : (number + 1) * size])
            assert sock.recv(12) == b"HTTP/1.1 204"
            api.close()
            end = min((number + 1) * size, len(content))
            now = other.upload(view["id"])
            assert now["bytes_received"] == end
            if number < 2:  # a file that is taken over whole (linked) is there at the end, and not before
                at_destination = [path.read_bytes() for path in files.rglob("*") if path.is_file()]
                assert at_destination == ([content[:end]] if elsewhere else [])
                assert now["bytes_transferred"] == (end if elsewhere else 0)
            assert api.put_chunk(view["id"], number, content[number * size : (number + 1) * size]).status == 204
        assert api.complete(view["id"]).json["state"] == "completed"
    assert (files / "a.bin").read_bytes() == content


# -- beside each other, and short of what processes need -----------------------------------------------------------------


def test_a_second_server_on_the_same_data_is_refused(start_server: Start) -> None:
    """Each would take the other's uploads for orphans or for its own; a killed one's place is free at once."""
    server = start_server()
    with ApiClient(("127.0.0.1", server.port)) as api:
        view = api.create("a.bin", 2 * CHUNK, chunk_size=CHUNK)
        with pytest.raises(RuntimeError, match="another server is running there"):
            ServerProcess(server.directory, {}).start()
        assert api.put_chunk(view["id"], 0, b"x" * CHUNK).status == 204
    server.kill()
    server.start()
    with ApiClient(("127.0.0.1", server.port)) as api:
        assert api.upload(view["id"])["bytes_received"] == CHUNK


def test_a_server_out_of_descriptors_recovers(start_server: Start) -> None:
    """FAULTS 17: connections beyond the limit wait or are refused; when others leave, everything works."""
    server = start_server(prefix=("prlimit", "--nofile=128"))
    address = ("127.0.0.1", server.port)
    with ApiClient(address) as early, ExitStack() as crowd:
        view = early.create("a.bin", 2 * CHUNK, chunk_size=CHUNK)
        for _ in range(200):
            crowd.enter_context(socket.create_connection(address))
        assert early.put_chunk(view["id"], 0, b"x" * CHUNK).status in {204, 503}
        crowd.close()
        while (reply := early.put_chunk(view["id"], 0, b"x" * CHUNK)).status != 204:
            assert reply.status == 503
        with ApiClient(address) as late:
            assert late.put_chunk(view["id"], 1, b"x" * CHUNK).status == 204
            assert late.complete(view["id"]).json["state"] == "completed"
            while (reply := late.post("/api/v1/uploads", {"filename": "b", "size": 1})).status != 201:
                assert reply.status == 503, "its memory could not be measured for want of a descriptor"
    assert server.stop() == 0


@needs_strace
@pytest.mark.slow
def test_a_sync_that_fails_is_not_believed(start_server: Start) -> None:
    """FAULTS 5: EIO from fdatasync; nothing is acknowledged as whole, the upload is quarantined, no file appears."""
    server = start_server()
    address = ("127.0.0.1", server.port)
    with ApiClient(address) as api:
        view = api.create("a.bin", 2 * CHUNK, chunk_size=CHUNK)
        assert api.put_chunk(view["id"], 0, b"x" * CHUNK).status == 204
        spooled = server.directory / "var" / "spool" / view["id"]
        with at_system_call(server.pid, "fdatasync", "error=EIO", paths=[spooled]):
            reply = api.put_chunk(view["id"], 1, b"x" * CHUNK)
            assert (reply.status, reply.code) == (503, "sync-failed")
        now = api.upload(view["id"])
        assert (now["state"], now["error"]["code"]) == ("failed", "sync-failed")
        assert api.put_chunk(view["id"], 1, b"x" * CHUNK).code == "state-conflict"
        assert api.request("PUT", "/api/v1/files/b", b"x").status == 201, "others are not concerned"
    assert [path.name for path in server.files.iterdir() if path.is_file()] == ["b"]
