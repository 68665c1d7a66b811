"""Reading the local file."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import crc32c
import pytest
from fake_forebay import MakeFile

from forebay import _source
from forebay._source import SourceFile
from forebay.errors import FileChanged, FileUnusable


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    """Reading threads."""
    with ThreadPoolExecutor(2) as threads:
        yield threads


@pytest.mark.parametrize("nowait", [True, False])
async def test_pieces_and_digests_are_the_files(
    make_file: MakeFile, executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch, nowait: bool
) -> None:
    """By either way of reading."""
    if not nowait:
        monkeypatch.setattr(_source, "_NOWAIT", 0)
    path = make_file(3_000_000)
    content = path.read_bytes()
    source = await SourceFile.open(path, executor)
    try:
        assert await source.piece(100, 1_000_000) == content[100:1_000_100]
        assert await source.crc32c(7, 2_999_000) == crc32c.crc32c(content[7:2_999_007])
        assert await source.sha256() == hashlib.sha256(content).hexdigest()
        source.check_in_place()
    finally:
        await source.aclose()


async def test_a_file_system_without_cached_reads_is_read_by_threads(
    make_file: MakeFile, executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`EOPNOTSUPP` is remembered; the bytes are the same."""
    real = os.preadv

    def preadv(descriptor: int, buffers: list, offset: int, flags: int = 0) -> int:
        if flags:
            raise OSError(95, "not supported")
        return real(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", preadv)
    monkeypatch.setattr(_source, "_NOWAIT", 8)
    path = make_file(1000)
    source = await SourceFile.open(path, executor)
    try:
        assert await source.piece(0, 1000) == path.read_bytes()
    finally:
        await source.aclose()


async def test_a_directory_a_fifo_and_nothing_are_refused_with_a_sentence(
    tmp_path: Path, executor: ThreadPoolExecutor
) -> None:
    """Without waiting for a FIFO's writer."""
    os.mkfifo(tmp_path / "fifo")
    for path, sentence in (
        (tmp_path, "is a directory"),
        (tmp_path / "fifo", "not a regular"),
        (tmp_path / "no", "not exist"),
    ):
        with pytest.raises(FileUnusable, match=sentence):
            await SourceFile.open(path, executor)


async def test_a_file_that_shrank_is_noticed_while_reading(make_file: MakeFile, executor: ThreadPoolExecutor) -> None:
    """Never a short chunk."""
    path = make_file(1000)
    source = await SourceFile.open(path, executor)
    try:
        os.truncate(path, 10)
        for reading in (source.crc32c(0, 1000), source.piece(0, 1000)):
            with pytest.raises(FileChanged, match="shorter"):
                await reading
        with pytest.raises(FileChanged):
            source.check_unchanged()
    finally:
        await source.aclose()


async def test_a_name_that_is_gone_is_no_change(make_file: MakeFile, executor: ThreadPoolExecutor) -> None:
    """What was read is whole."""
    path = make_file(1000)
    source = await SourceFile.open(path, executor)
    try:
        path.unlink()
        # The link count changed the ctime, not what we compare.
        source.check_in_place()
    finally:
        await source.aclose()


async def test_closing_waits_for_a_read_that_was_given_up(
    make_file: MakeFile, executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The descriptor is not closed under a thread."""
    path = make_file(1000)
    source = await SourceFile.open(path, executor)
    loop = asyncio.get_running_loop()
    reading, go_on = asyncio.Event(), __import__("threading").Event()
    states = []

    def slow(offset: int, length: int) -> int:
        loop.call_soon_threadsafe(reading.set)
        go_on.wait(10)
        states.append(os.fstat(source._descriptor).st_size)
        return 0

    monkeypatch.setattr(source, "_crc32c", slow)
    task = asyncio.create_task(source.crc32c(0, 1000))
    await reading.wait()
    task.cancel()
    closing = asyncio.create_task(source.aclose())
    await asyncio.sleep(0)
    go_on.set()
    await closing
    assert states == [1000]
