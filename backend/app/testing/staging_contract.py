"""What every staging adapter must do: subclass `StagingContract` in a test module and provide `staging`."""
# ruff: noqa: S101 - these are tests

from __future__ import annotations

import asyncio
import os

import pytest

from app.core.errors import StagingUnavailable
from app.core.upload import KIB, Extent
from app.staging.port import Durability, Linkable, Room, Staging, Windowed

__all__ = ["StagingContract", "begin", "read", "write"]


async def begin(staging: Staging, upload_id: str, size: int) -> Room | None:
    """Make a place for an upload of ann's, and hold room for all of it where the adapter gives room by extents."""
    await staging.reserve(upload_id, "ann", size)
    return await staging.room(upload_id, 0, size) if isinstance(staging, Windowed) else None


def write(staging: Staging, upload_id: str, offset: int, data: bytes) -> None:
    """Write one extent, whole."""
    writer = staging.open_writer(upload_id, offset)
    try:
        writer.write(memoryview(data))
        writer.finish(Durability.BEGUN)
    finally:
        writer.close()


def read(staging: Staging, upload_id: str, offset: int, length: int) -> bytes:
    """Read a range; short at the file's end."""
    buffer = bytearray(length)
    return bytes(buffer[: staging.read_into(upload_id, offset, memoryview(buffer))])


class StagingContract:
    """A subclass provides the fixture `staging`: open, empty, with room for a few MiB."""

    @pytest.fixture
    def staging(self) -> Staging:
        """An open, empty adapter."""
        raise NotImplementedError

    async def test_extents_written_in_any_order_are_read_back(self, staging: Staging) -> None:
        """Each extent's bytes are at its offset."""
        data = os.urandom(300 * KIB)
        await begin(staging, "up", len(data))
        for start in (200 * KIB, 0, 100 * KIB):
            write(staging, "up", start, data[start : start + 100 * KIB])
        assert read(staging, "up", 0, len(data)) == data

    async def test_a_writer_takes_views_one_after_the_other(self, staging: Staging) -> None:
        """The position follows what was written, from the offset the writer was opened at."""
        await begin(staging, "up", 64)
        writer = staging.open_writer("up", 10)
        try:
            for view, position in ((b"abc", 13), (b"", 13), (b"defgh", 18)):
                writer.write(memoryview(view))
                assert writer.position == position
            writer.finish(Durability.ALL)
        finally:
            writer.close()
        assert read(staging, "up", 10, 8) == b"abcdefgh"

    async def test_uploads_do_not_see_each_other(self, staging: Staging) -> None:
        """The same offset of two uploads is two places."""
        for name in ("one", "two"):
            await begin(staging, name, 3)
            write(staging, name, 0, name.encode())
        assert (read(staging, "one", 0, 3), read(staging, "two", 0, 3)) == (b"one", b"two")

    async def test_writers_of_different_extents_work_at_once(self, staging: Staging) -> None:
        """Parallel chunks of one upload land where they belong."""
        data = os.urandom(8 * 64 * KIB)
        await begin(staging, "up", len(data))
        lanes = (range(start, start + 64 * KIB) for start in range(0, len(data), 64 * KIB))
        await asyncio.gather(
            *(asyncio.to_thread(write, staging, "up", lane.start, data[lane.start : lane.stop]) for lane in lanes)
        )
        assert read(staging, "up", 0, len(data)) == data

    async def test_an_empty_upload_has_a_place(self, staging: Staging) -> None:
        """A file of no bytes is reserved, synced and discarded as others are."""
        await staging.reserve("empty", "ann", 0)
        await staging.sync("empty")
        assert await staging.ids() == ["empty"]
        assert read(staging, "empty", 0, 1) == b""
        await staging.discard("empty")

    async def test_a_closed_writer_refuses(self, staging: Staging) -> None:
        """Nothing is written through a writer that was given back; closing twice is harmless."""
        await begin(staging, "up", 10)
        writer = staging.open_writer("up", 0)
        writer.close()
        writer.close()
        with pytest.raises(StagingUnavailable):
            writer.write(memoryview(b"late"))

    async def test_discard_removes_everything(self, staging: Staging) -> None:
        """Afterwards the id is unknown, and discarding again is no error."""
        await begin(staging, "up", 10)
        write(staging, "up", 0, b"0123456789")
        await staging.discard("up")
        await staging.discard("up")
        assert await staging.ids() == []
        assert (await staging.space()).reserved_bytes == 0
        with pytest.raises(StagingUnavailable):
            staging.open_writer("up", 0)
        with pytest.raises(StagingUnavailable):
            read(staging, "up", 0, 10)

    async def test_discard_under_a_writer_hurts_nobody_else(self, staging: Staging) -> None:
        """A cancelled upload's last burst writes nowhere, not into the next upload."""
        await begin(staging, "old", 4)
        writer = staging.open_writer("old", 0)
        await staging.discard("old")
        await begin(staging, "new", 4)
        write(staging, "new", 0, b"good")
        try:
            writer.write(memoryview(b"evil"))
        except StagingUnavailable:
            pass  # as good as writing nowhere
        finally:
            writer.close()
        assert read(staging, "new", 0, 4) == b"good"

    async def test_released_room_keeps_what_was_written(self, staging: Staging) -> None:
        """An idle upload gives up only room in which nothing is, and goes on after regaining it."""
        await begin(staging, "up", 400 * KIB)
        data = os.urandom(100 * KIB)
        write(staging, "up", 100 * KIB, data)
        await staging.release_room("up")
        assert read(staging, "up", 100 * KIB, len(data)) == data
        await staging.regain_room("up")
        await staging.regain_room("up")
        write(staging, "up", 0, data)
        assert read(staging, "up", 0, 2 * len(data)) == data + data

    async def test_dropping_the_cache_loses_nothing(self, staging: Staging) -> None:
        """It is a hint: the bytes are read back from wherever they are."""
        await begin(staging, "up", 64 * KIB)
        data = os.urandom(64 * KIB)
        write(staging, "up", 0, data)
        staging.drop_cache("up", 0, len(data))
        await staging.sync("up")
        staging.drop_cache("up", 0, len(data))
        assert read(staging, "up", 0, len(data)) == data

    async def test_adopting_what_is_not_there_says_so(self, staging: Staging) -> None:
        """An upload of the database whose bytes are gone is reported, not invented."""
        assert not await staging.adopt("gone", "ann", 10, [Extent(0, 10, 0)])

    async def test_a_linkable_place_is_a_file_with_the_bytes(self, staging: Staging) -> None:
        """Where the adapter offers a path, the upload's bytes are there once synced."""
        if not isinstance(staging, Linkable):
            pytest.skip("this adapter keeps no files")
        await begin(staging, "up", 5)
        write(staging, "up", 0, b"hello")
        await staging.sync("up")
        assert staging.path("up").read_bytes() == b"hello"
