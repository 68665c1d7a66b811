"""Uploads are digested without taking the processors from those who still send."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import crc32c
import pytest

from app.core.upload import Completion, Extent, NameConflictPolicy, Upload, UploadState
from app.services.chunk_buffer_pool import ChunkBufferPool
from app.services.live import LiveUpload
from app.services.prefix_reader import PrefixReader
from app.staging.spool import SpoolStaging

SIZE, EXTENT = 2000, 1000
TOGETHER_S = 0.1


class Watched(SpoolStaging):
    """Says of each read whether another one came while it went on."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, min_free_bytes=0)
        self.together: list[bool] = []
        self._both = threading.Barrier(2)

    def read_into(self, upload_id: str, offset: int, view: memoryview) -> int:
        """In a thread of the reader's."""
        try:
            self._both.wait(TOGETHER_S)
        except threading.BrokenBarrierError:
            self._both.reset()
            self.together.append(False)
        else:
            self.together.append(True)
        return super().read_into(upload_id, offset, view)


async def staged(staging: SpoolStaging, name: str, state: UploadState) -> LiveUpload:
    """An upload that has come."""
    content = os.urandom(SIZE)
    row = Upload(
        id=name * 32,
        owner="ann",
        filename="f",
        folder="",
        media_type="text/plain",
        size=SIZE,
        chunk_size=EXTENT,
        state=state,
        completion=Completion.EXPLICIT,
        on_conflict=NameConflictPolicy.RENAME,
        destination="default",
        created_at=0,
        active_at_s=0,
    )
    await staging.reserve(row.id, row.owner, row.size)
    writer = staging.open_writer(row.id, 0)
    writer.write(memoryview(content))
    writer.close()
    starts = range(0, SIZE, EXTENT)
    extents = [Extent(start, EXTENT, crc32c.crc32c(content[start : start + EXTENT])) for start in starts]
    return LiveUpload(row, extents)


async def digested(reader: PrefixReader, live: LiveUpload) -> None:
    """For the digest only."""
    async for _ in reader.pieces(live, send_from=SIZE, send_until=SIZE, stall_s=0):
        pass
    assert live.digest.position == SIZE


@pytest.mark.parametrize(
    ("state", "together"), [(UploadState.RECEIVING, {False}), (UploadState.TRANSFERRING, {True, False})]
)
async def test_while_others_want_the_processors_what_nobody_waits_for_is_digested_in_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: UploadState, together: set[bool]
) -> None:
    """Of many uploads that are still received one at a time; those that have come side by side."""
    monkeypatch.setattr("app.services.prefix_reader._CROWDED", -1.0)
    staging = Watched(tmp_path)
    pool = ChunkBufferPool(4096, 16, timeout_s=5)
    pool.open()
    await staging.open()
    with ThreadPoolExecutor(2) as threads:
        reader = PrefixReader(staging, pool, threads)
        await digested(reader, await staged(staging, "0", state))
        staging.together.clear()
        async with asyncio.TaskGroup() as group:
            for name in "abc":
                group.create_task(digested(reader, await staged(staging, name, state)))
    assert set(staging.together) <= together
    assert (True in staging.together) == (True in together)
    await staging.aclose()
    pool.close()
