"""FAULTS 10: a disk on which every write hangs; memory stays in its cap and the server answers all the while."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from app.testing.api_client import ApiClient
from app.testing.server_process import ServerProcess
from app.testing.syscalls import at_system_call, may_trace

CHUNK = 4 << 20
UPLOADS = 32
POOL = 8 << 20


@pytest.mark.skipif(not may_trace(), reason="needs strace, and the right to trace processes")
def test_while_every_write_hangs_memory_is_in_its_cap_and_status_is_answered(
    start_server: Callable[..., ServerProcess],
) -> None:
    """The writes hang until the disk is fast again: whatever is answered before was answered in spite of them."""
    server = start_server(PARALLEL_UPLOAD_MAX_CONCURRENT_UPLOADS=str(UPLOADS))
    process = psutil.Process(server.pid)
    address = ("127.0.0.1", server.port)
    content = bytes(CHUNK)

    def put(upload_id: str) -> int:
        with ApiClient(address) as own:
            return own.put_chunk(upload_id, 0, content).status

    with ThreadPoolExecutor(UPLOADS) as pool, ApiClient(address) as api:
        uploads = [api.create(f"{number}.bin", 2 * CHUNK, chunk_size=CHUNK)["id"] for number in range(UPLOADS)]
        assert api.put_chunk(uploads[0], 1, content).status == 204  # whatever is loaded at the first chunk is there
        before = process.memory_info().rss
        spooled = [server.directory / "var" / "spool" / upload_id for upload_id in uploads]
        with at_system_call(server.pid, "pwrite64", "delay_enter=600s", paths=spooled):
            sent = [pool.submit(put, upload_id) for upload_id in uploads]
            while api.status()["chunk_processor"]["chunks_in_flight"] < UPLOADS:
                pass
            for _ in range(100):
                status = api.status()
                assert status["chunk_processor"]["chunks_in_flight"] == UPLOADS
                assert status["buffer_pool"]["slabs_leased"] > 0
                assert api.request("GET", "/readyz").status == 200
                assert api.progress(uploads[1])["bytes_received"] == 0
                assert process.memory_info().rss < before + POOL + (16 << 20)
            assert api.create("late.bin", CHUNK)["state"] == "created", "and so is who wants to begin"
            assert not any(future.done() for future in sent)
        assert [future.result() for future in sent] == [204] * UPLOADS
        assert api.complete(uploads[0]).json["state"] == "completed"
        while api.status()["buffer_pool"]["slabs_leased"]:  # what has come is still being digested
            pass
    assert server.stop() == 0
