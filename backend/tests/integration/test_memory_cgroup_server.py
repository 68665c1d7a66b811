"""The real server in a 512 MiB memory cgroup, while a file larger than that is spooled and digested."""

from __future__ import annotations

import base64
import hashlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.testing.api_client import ApiClient
from app.testing.server_process import ServerProcess

CHUNK = 16 << 20
SIZE = 1280 << 20
LIMIT = 512 << 20


@pytest.mark.slow
def test_a_file_larger_than_the_memory_is_taken_while_new_uploads_are_admitted(
    cgroup: Path, start_server: Callable[..., ServerProcess]
) -> None:
    """The page cache that spooling fills and digesting reads again is no memory pressure; content and digest are right."""
    join = ("sh", "-c", 'echo $$ > "$0" && exec "$@"', str(cgroup / "cgroup.procs"))
    server = start_server(prefix=join, PARALLEL_UPLOAD_MIN_FREE_MB="0")
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
