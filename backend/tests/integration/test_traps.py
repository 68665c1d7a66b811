"""The traps of DESIGN section 7, each with the test that would catch it; those without a better home are here.

- uploading zero bytes of content and calling it success: test_chunks_model (the stored file is compared), test_crashes
- ranges of one Drive session in parallel, 308's `Range` ignored: with the Google Drive destination, which is not here yet
- progress that counts received bytes as done: test_api_lifecycle::test_progress_counts_what_is_at_the_destination
- a slot leaked by a second connection to the same upload: test_two_at_once (`everything_comes_back` after each test)
- cancel that answers "cancelled" and completes: test_two_at_once, three tests and a race
- a memory gate that demands the whole file's size: test_limits_at_once, test_memory_cgroup_server
- a pool that is allocated at import and never used: here
- two places with two values for one limit: here
- exceptions masked into `False`: test_storage_faults, test_crashes::test_a_sync_that_fails_is_not_believed
- a client-supplied destination URL: test_api_lifecycle::test_an_upload_names_one_of_the_destinations
- uploads "uploading" for ever after a restart: here, test_crashes
- files matched by name in a batch: test_api_lifecycle::test_two_files_of_one_name_at_once_are_two_files
- zero-byte files refused: test_api_lifecycle::test_a_file_of_zero_bytes_arrives
- blocking calls in the event loop: here, and the longest block is measured in the bench
- trusting `X-Forwarded-For`: test_access, two tests
- an invented number when a probe fails: test_limits_at_once::test_memory_pressure_refuses_the_new_and_not_those_under_way
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from app.core.upload import MIB
from app.staging.spool.writer import SpoolWriter
from app.testing.product import Product

CHUNK = 262_144
Start = Callable[..., Product]
_POOL_MIB = 2048

# Prints how much was in memory at most, and how many threads there are, after a server was described and not opened.
_DESCRIBED = f"""
import re, threading
from pathlib import Path
from app.core.settings import load_settings
from app.main import create_app
app = create_app(load_settings(env_file=None, environ={{}}, buffer_pool_mb={_POOL_MIB}))
# Not ru_maxrss: that is inherited from the process that ran us (getrusage(2)).
print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1], threading.active_count())
"""


def test_importing_and_describing_allocates_nothing(tmp_path: Path) -> None:
    """The pool, threads and files come when it runs, and go when it ends."""
    backend = Path(__file__).parents[2]
    run = subprocess.run(
        [sys.executable, "-c", _DESCRIBED],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(backend)},
        capture_output=True,
        text=True,
        check=True,
    )
    kib, threads = map(int, run.stdout.split())
    assert kib < 256 * 1024 < _POOL_MIB * 1024
    assert threads == 1
    assert list(tmp_path.iterdir()) == []


def test_a_limit_has_one_value_wherever_it_is_shown(start_product: Start) -> None:
    """Settings, the answer of a creation, the status, the operator's view and what is enforced."""
    product = start_product(chunk_size_mb=2, max_concurrent_chunks=3, max_concurrent_users=7, max_file_mb=100)
    with product.client() as api:
        view, status, limits = api.create("a", 100 * MIB), api.status(), api.get("/api/v1/ops/limits")
        assert view["chunk_size"] == limits["chunk_size"] == 2 * MIB
        assert view["max_concurrent_chunks"] == limits["max_concurrent_chunks"] == 3
        assert status["concurrency_manager"]["max_users"] == limits["max_users"] == 7
        assert status["concurrency_manager"]["max_uploads"] == limits["max_uploads"] == 7
        refused = api.post("/api/v1/uploads", {"filename": "a", "size": 100 * MIB + 1})
        assert refused.json["limit"] == limits["max_file_size"] == 100 * MIB


@pytest.mark.parametrize("completion", ["auto", "explicit"])
def test_what_was_received_before_a_restart_arrives_without_its_client(start_product: Start, completion: str) -> None:
    """Uploads "uploading" for ever: the client may have left when everything was acknowledged."""
    content = os.urandom(3 * CHUNK)
    first = start_product()
    first.server.transfers.poke = lambda _: None  # so that nothing of it gets on in this life
    with first.client() as api:
        view = api.create("a.bin", len(content), chunk_size=CHUNK, completion=completion)
        api.put_all(view, content)
        assert api.upload(view["id"])["state"] == ("transferring" if completion == "auto" else "receiving")
    first.__exit__()
    second = start_product()
    with second.client() as api:
        if completion == "explicit":
            assert api.upload(view["id"])["missing"] == []
            assert api.complete(view["id"]).json["state"] == "completed"
        second.wait_for(lambda: second.server.context.uploads.under_way(view["id"]) is None)
        assert api.upload(view["id"])["state"] == "completed"
    assert (second.files / "a.bin").read_bytes() == content


def test_a_disk_that_stands_still_holds_nobody_else(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every worker thread hangs in a write: status, creation, progress and cancel answer all the same (FAULTS 10)."""
    may_write = threading.Event()
    hanging = threading.Semaphore(0)
    real = SpoolWriter.write

    def slow(writer: Any, view: memoryview) -> None:
        hanging.release()
        may_write.wait(60)
        real(writer, view)

    monkeypatch.setattr(SpoolWriter, "write", slow)
    lanes = product.server.settings.worker_threads
    with product.client() as api, ThreadPoolExecutor(lanes) as pool:
        view = api.create("a.bin", 8 * CHUNK, chunk_size=CHUNK)

        def send(number: int) -> int:
            with product.client() as mine:
                return mine.put_chunk(view["id"], number, b"x" * CHUNK).status

        sending = [pool.submit(send, number) for number in range(lanes)]
        for _ in range(lanes):
            assert hanging.acquire(timeout=30)
        assert api.status()["chunk_processor"]["chunks_in_flight"] == lanes
        assert api.status()["buffer_pool"]["slabs_leased"] <= lanes
        other = api.create("b.bin", 10)
        assert api.progress(view["id"])["in_flight_chunks"] == lanes
        assert api.cancel(other["id"]).status == 204
        may_write.set()
        assert [future.result() for future in sending] == [204] * lanes
