"""Uploads are digested without taking the processors from those who still send."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import crc32c
import pytest

from app.core.upload import Completion, Extent, NameConflictPolicy, Upload, UploadState
from app.services.chunk_buffer_pool import ChunkBufferPool
from app.services.live import LiveUpload
from app.services.prefix_reader import PrefixReader
from app.staging.spool import SpoolStaging

SIZE, EXTENT = 2000, 1000
ALONE_S = 0.05


class Watched(SpoolStaging):
    """Says whether two reads ever went on at the same time: each waits a moment for another one."""

    def __init__(self, directory: Path, wait_s: float) -> None:
        super().__init__(directory, min_free_bytes=0)
        self.met = threading.Event()
        self._wait_s = wait_s
        self._reads = 0
        self._counting = threading.Lock()

    def read_into(self, upload_id: str, offset: int, view: memoryview) -> int:
        """In a thread of the reader's."""
        with self._counting:
            self._reads += 1
            if self._reads > 1:
                self.met.set()
        self.met.wait(self._wait_s)
        with self._counting:
            self._reads -= 1
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


@pytest.mark.parametrize(("state", "wait_s"), [(UploadState.RECEIVING, ALONE_S), (UploadState.TRANSFERRING, 30.0)])
async def test_while_others_want_the_processors_what_nobody_waits_for_is_digested_in_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: UploadState, wait_s: float
) -> None:
    """Of many uploads that are still received one at a time; those that have come side by side."""
    monkeypatch.setattr("app.services.prefix_reader._CROWDED", -1.0)
    staging = Watched(tmp_path, wait_s)
    pool = ChunkBufferPool(4096, 16, timeout_s=5)
    pool.open()
    await staging.open()
    with ThreadPoolExecutor(2) as threads:
        reader = PrefixReader(staging, pool, threads)
        first = await staged(staging, "0", state)
        monkeypatch.setattr(staging, "_wait_s", 0.0)
        await digested(reader, first)
        monkeypatch.setattr(staging, "_wait_s", wait_s)
        async with asyncio.TaskGroup() as group:
            for name in "abc":
                group.create_task(digested(reader, await staged(staging, name, state)))
    assert staging.met.is_set() == (state is UploadState.TRANSFERRING)
    await staging.aclose()
    pool.close()


async def test_what_has_come_whole_meanwhile_waits_for_no_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though another one has it, and keeps it."""
    monkeypatch.setattr("app.services.prefix_reader._CROWDED", -1.0)
    monkeypatch.setattr("app.services.prefix_reader._LONGEST_PAUSE_S", 0.01)
    staging = Watched(tmp_path, 0.0)
    pool = ChunkBufferPool(4096, 16, timeout_s=5)
    pool.open()
    await staging.open()
    with ThreadPoolExecutor(2) as threads:
        reader = PrefixReader(staging, pool, threads)
        await digested(reader, await staged(staging, "0", UploadState.RECEIVING))
        monkeypatch.setattr(staging, "_wait_s", 30.0)
        slow, live = [await staged(staging, name, UploadState.RECEIVING) for name in "ab"]
        async with asyncio.TaskGroup() as group:
            group.create_task(digested(reader, slow))
            waiting = group.create_task(digested(reader, live))
            await asyncio.sleep(0.05)
            assert not waiting.done()
            live.row = replace(live.row, state=UploadState.TRANSFERRING)
    assert staging.met.is_set()
    await staging.aclose()
    pool.close()


async def test_an_only_upload_is_digested_without_a_pause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other programs want the processors, its client perhaps, but no other upload does; of two, each pauses."""
    monkeypatch.setattr("app.services.prefix_reader._CROWDED", -1.0)
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def slept(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", slept)
    staging = Watched(tmp_path, 0.0)
    pool = ChunkBufferPool(4096, 16, timeout_s=5)
    pool.open()
    await staging.open()
    with ThreadPoolExecutor(2) as threads:
        reader = PrefixReader(staging, pool, threads)
        await digested(reader, await staged(staging, "0", UploadState.TRANSFERRING))
        assert not any(pauses)
        monkeypatch.setattr(staging, "_wait_s", 30.0)  # both are under way then
        async with asyncio.TaskGroup() as group:
            for name in "ab":
                group.create_task(digested(reader, await staged(staging, name, UploadState.TRANSFERRING)))
        assert any(pauses)
    await staging.aclose()
    pool.close()
