"""The real server in a memory cgroup: while a file larger than that is spooled, and with more uploads than it can take."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import selectors
import socket
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from app.testing.api_client import ApiClient
from app.testing.server_process import ServerProcess

CHUNK = 16 << 20
SIZE = 1280 << 20
LIMIT = 512 << 20
JOIN = ("sh", "-c", 'echo $$ > "$0" && exec "$@"')


@pytest.mark.slow
def test_a_file_larger_than_the_memory_is_taken_while_new_uploads_are_admitted(
    cgroup: Path, start_server: Callable[..., ServerProcess]
) -> None:
    """The page cache that spooling fills and digesting reads again is no memory pressure; content and digest are right."""
    server = start_server(prefix=(*JOIN, str(cgroup / "cgroup.procs")), PARALLEL_UPLOAD_MIN_FREE_MB="0")
    address = ("127.0.0.1", server.port)
    block = os.urandom(CHUNK)
    expected = hashlib.sha256()
    for _ in range(SIZE // CHUNK):
        expected.update(block)
    over = threading.Event()
    highest = 0.0

    def admit() -> int:
        nonlocal highest
        count = 0
        with ApiClient(address) as api:
            while not over.wait(0.02):
                view = api.create("small.bin", 1000)
                assert api.cancel(view["id"]).status == 204
                usage = api.status()["memory_monitor"]
                assert (usage["source"], usage["limit"], usage["level"]) == ("cgroup", LIMIT, "ok")
                highest = max(highest, usage["current_usage"])
                count += 1
        return count

    def send(numbers: range, upload_id: str) -> None:
        with ApiClient(address) as api:
            for number in numbers:
                assert api.put_chunk(upload_id, number, block).status == 204

    with ThreadPoolExecutor(4) as pool, ApiClient(address) as api:
        admitting = pool.submit(admit)
        try:
            view = api.create("large.bin", SIZE, chunk_size=CHUNK)
            assert view["chunk_size"] == CHUNK
            sending = [pool.submit(send, range(lane, view["chunk_count"], 3), view["id"]) for lane in range(3)]
            for future in sending:
                future.result()
            done = api.complete(view["id"], digest=f"sha-256=:{base64.b64encode(expected.digest()).decode()}:").json
        finally:
            over.set()
        assert done["state"] == "completed"
        assert admitting.result() > 10
        assert highest < 80
    assert (server.files / "large.bin").stat().st_size == SIZE
    (server.files / "large.bin").unlink()
    assert server.stop() == 0


TRICKLING = 1000
ACTIVE = 400
WAITING = 200
SMALL = 60_000


@pytest.mark.slow
@pytest.mark.usefixtures("many_descriptors")
@pytest.mark.parametrize("cgroup", [256 << 20], indirect=True)
def test_a_thousand_trickling_uploads_wait_or_are_refused_and_nothing_is_killed(cgroup: Path, tmp_path: Path) -> None:
    """FAULTS 18, in 256 MiB, with a pool that the server sizes itself: 400 active, 200 wait, 400 are told to come again."""
    settings = {
        "PARALLEL_UPLOAD_MAX_CONCURRENT_UPLOADS": str(ACTIVE),
        "PARALLEL_UPLOAD_QUEUE_LIMIT": str(WAITING),
        "PARALLEL_UPLOAD_QUEUE_TIMEOUT_S": "600",
        "PARALLEL_UPLOAD_MIN_FREE_MB": "0",
    }
    content = os.urandom(SMALL)
    prefix = (*JOIN, str(cgroup / "cgroup.procs"))
    with ServerProcess(tmp_path, settings, prefix=prefix) as server, ExitStack() as crowd:
        address = ("127.0.0.1", server.port)
        api = crowd.enter_context(ApiClient(address))
        waiting: dict[socket.socket, str] = {}
        for number in range(TRICKLING):
            upload_id = api.create(f"{number}.bin", SMALL)["id"]
            client = crowd.enter_context(ApiClient(address))
            waiting[client.begin_chunk(upload_id, 0, SMALL, content[:1])] = upload_id
        answers = _answers(waiting, TRICKLING - ACTIVE - WAITING)
        for answer in answers.values():
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b"\r\nretry-after: " in answer.lower()
            assert b"Upload limit exceeded or insufficient resources" in answer
        for sent in range(1, 11):
            for sock in waiting:
                sock.sendall(content[sent : sent + 1])
            status = api.status()
            assert (status["memory_monitor"]["source"], status["memory_monitor"]["limit"]) == ("cgroup", 256 << 20)
            manager = status["concurrency_manager"]
            assert (manager["active_uploads"], manager["queued"]) == (ACTIVE, WAITING)
        for sock in waiting:
            sock.sendall(content[11:])
        assert {answer[:12] for answer in _answers(waiting, len(waiting)).values()} == {b"HTTP/1.1 204"}
        late = api.create("late.bin", SMALL)
        assert api.put_chunk(late["id"], 0, content).status == 204
        assert api.complete(late["id"]).json["state"] == "completed"
        assert (server.files / "late.bin").read_bytes() == content
        assert _killed_for_memory(cgroup) == 0
        assert server.stop() == 0


def _answers(waiting: dict[socket.socket, str], count: int) -> Mapping[str, bytes]:
    """The next answers, by upload; who has one waits no longer."""
    answers = {}
    with selectors.DefaultSelector() as selector:
        for sock in waiting:
            selector.register(sock, selectors.EVENT_READ)
        while len(answers) < count:
            for key, _ in selector.select():
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                selector.unregister(sock)
                answers[waiting.pop(sock)] = sock.recv(65_536)
    return answers


def _killed_for_memory(cgroup: Path) -> int:
    """How many processes the kernel has killed in it (v1: memory.oom_control, v2: memory.events)."""
    told = next(path for name in ("memory.oom_control", "memory.events") if (path := cgroup / name).exists())
    count = re.search(r"^oom_kill (\d+)$", told.read_text(), re.MULTILINE)
    assert count is not None
    return int(count[1])
