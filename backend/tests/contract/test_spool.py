"""The spool against the staging contract, and what only a spool does."""

import asyncio
import errno
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from app.core.errors import NotFound, OutOfSpace, StagingUnavailable, SyncFailed, UserQuotaExceeded
from app.core.upload import KIB, MIB, Extent
from app.posix import calls
from app.staging.port import Durability
from app.staging.spool import SpoolStaging
from app.testing.staging_contract import StagingContract, read, write


@asynccontextmanager
async def spool_in(directory: Path, **settings: object) -> AsyncIterator[SpoolStaging]:
    """An open spool."""
    spool = SpoolStaging(directory, **{"min_free_bytes": 0, **settings})
    await spool.open()
    try:
        yield spool
    finally:
        await spool.aclose()


class TestSpoolContract(StagingContract):
    """The contract, with as many descriptors as it likes."""

    @pytest.fixture
    async def staging(self, tmp_path: Path) -> AsyncIterator[SpoolStaging]:
        """A spool in a directory."""
        async with spool_in(tmp_path / "spool") as spool:
            yield spool


class TestSpoolContractWithoutIdleDescriptors(StagingContract):
    """The contract, where every file is synced and closed as soon as another one is opened."""

    @pytest.fixture
    async def staging(self, tmp_path: Path) -> AsyncIterator[SpoolStaging]:
        """A spool that keeps no unused descriptor."""
        async with spool_in(tmp_path / "spool", max_open_files=0, threads=1) as spool:
            yield spool


class TestSpoolContractWithoutPreallocation(StagingContract):
    """The contract, on a file system without fallocate."""

    @pytest.fixture
    async def staging(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SpoolStaging]:
        """A spool whose fallocate answers as NFSv3 does."""
        without_fallocate(monkeypatch)
        async with spool_in(tmp_path / "spool") as spool:
            yield spool


def without_fallocate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every fallocate is "not supported"."""
    for call in ("preallocate", "punch_hole"):
        monkeypatch.setattr(f"app.staging.spool.spool.{call}", lambda *_: False)


async def test_nobody_else_can_read_it(tmp_path: Path) -> None:
    """The directory is 0700, also one that was there before, and files are 0600."""
    (tmp_path / "spool").mkdir(mode=0o755)
    async with spool_in(tmp_path / "spool") as spool:
        await spool.reserve("up", "ann", 1)
        assert (tmp_path / "spool").stat().st_mode & 0o777 == 0o700
        assert spool.path("up").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("upload_id", ["", ".", "..", "a/b", "../up", "a\0b", "a.b", "é", "x" * 129, "up\n"])
async def test_what_is_no_id_becomes_no_name(tmp_path: Path, upload_id: str) -> None:
    """Ids with anything but letters, digits, - and _ are not found."""
    async with spool_in(tmp_path / "spool") as spool:
        for attempt in (
            spool.reserve(upload_id, "ann", 1),
            spool.discard(upload_id),
            spool.adopt(upload_id, "a", 1, []),
        ):
            with pytest.raises(NotFound):
                await attempt
        with pytest.raises(NotFound):
            spool.path(upload_id)


async def test_reserved_room_is_allocated_and_the_file_stays_sparse(tmp_path: Path) -> None:
    """The blocks are the upload's from creation on, while the file's size tells what has come."""
    async with spool_in(tmp_path / "spool") as spool:
        await spool.reserve("up", "ann", MIB)
        status = spool.path("up").stat()
        assert (status.st_size, status.st_blocks * 512 >= MIB) == (0, True)
        assert (await spool.space()).reserved_bytes == MIB


async def test_room_follows_a_size_that_changes(tmp_path: Path) -> None:
    """More is set aside, less is given back, and what was written behind the new end is cut off."""
    async with spool_in(tmp_path / "spool", user_quota_bytes=4 * MIB) as spool:
        await spool.reserve("up", "ann", 0)
        for size in (MIB, 3 * MIB):
            await spool.resize("up", size)
            assert spool.path("up").stat().st_blocks * 512 >= size
            assert (await spool.space()).reserved_bytes == size
        with pytest.raises(UserQuotaExceeded):
            await spool.resize("up", 5 * MIB)
        write(spool, "up", 0, b"x" * 2 * MIB)
        await spool.resize("up", MIB)
        status = spool.path("up").stat()
        assert (status.st_size, status.st_blocks * 512 < 2 * MIB) == (MIB, True)
        assert (await spool.space()).reserved_bytes == MIB
        await spool.reserve("other", "ann", 3 * MIB)


async def test_room_that_was_given_back_is_had_in_another_size(tmp_path: Path) -> None:
    """An idle upload comes back and says how large it is."""
    async with spool_in(tmp_path / "spool") as spool:
        await spool.reserve("up", "ann", 4 * MIB)
        write(spool, "up", 0, b"x" * MIB)
        await spool.release_room("up")
        await spool.resize("up", 2 * MIB)
        assert (await spool.space()).reserved_bytes == 2 * MIB
        assert spool.path("up").stat().st_blocks * 512 >= 2 * MIB
        assert read(spool, "up", 0, MIB) == b"x" * MIB


async def test_a_name_is_synced_once_and_data_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory is synced with an upload's first sync, by a durable writer or by `sync`; its bytes with every one."""
    synced: list[str] = []
    for call in ("fsync", "fdatasync"):
        real = getattr(os, call)
        monkeypatch.setattr(os, call, lambda fd, call=call, real=real: (synced.append(call), real(fd)))
    async with spool_in(tmp_path / "spool") as spool:
        for name in ("one", "two"):
            await spool.reserve(name, "ann", 10)
        writer = spool.open_writer("one", 0)
        writer.write(memoryview(b"x"))
        writer.finish(Durability.ALL)
        writer.close()
        assert synced == ["fdatasync", "fsync"]
        await spool.sync("one")
        assert synced == ["fdatasync", "fsync", "fdatasync"]
        await spool.sync("two")
        assert synced[3:] == ["fdatasync", "fsync"]


async def test_released_room_goes_back_to_the_volume(tmp_path: Path) -> None:
    """Before, between and behind the bytes written, and is allocated again when regained."""
    async with spool_in(tmp_path / "spool") as spool:
        await spool.reserve("up", "ann", 4 * MIB)
        for offset in (MIB, 2 * MIB):
            write(spool, "up", offset, b"x" * 64 * KIB)
        await spool.release_room("up")
        assert spool.path("up").stat().st_blocks * 512 < 256 * KIB
        assert (await spool.space()).reserved_bytes < 256 * KIB
        await spool.regain_room("up")
        assert spool.path("up").stat().st_blocks * 512 >= 4 * MIB
        assert (await spool.space()).reserved_bytes == 4 * MIB


async def test_room_is_not_released_under_a_writer(tmp_path: Path) -> None:
    """An upload that somebody writes is not idle."""
    async with spool_in(tmp_path / "spool") as spool:
        await spool.reserve("up", "ann", MIB)
        writer = spool.open_writer("up", 0)
        await spool.release_room("up")
        assert (await spool.space()).reserved_bytes == MIB
        writer.close()
        await spool.release_room("up")
        assert (await spool.space()).reserved_bytes == 0


async def test_one_user_has_a_cap_and_others_their_own(tmp_path: Path) -> None:
    """What is reserved together counts, and what was given back does not."""
    async with spool_in(tmp_path / "spool", user_quota_bytes=3 * MIB) as spool:
        await spool.reserve("a1", "ann", 2 * MIB)
        with pytest.raises(UserQuotaExceeded) as refused:
            await spool.reserve("a2", "ann", 2 * MIB)
        assert refused.value.extensions == {"quota_bytes": 3 * MIB, "reserved_bytes": 2 * MIB}
        await spool.reserve("b1", "bob", 2 * MIB)
        await spool.release_room("a1")
        await spool.reserve("a2", "ann", 2 * MIB)
        with pytest.raises(UserQuotaExceeded):
            await spool.regain_room("a1")
        await spool.discard("a2")
        await spool.regain_room("a1")


async def test_a_refused_reservation_leaves_nothing(tmp_path: Path) -> None:
    """No file, no room, and the id may be used."""
    async with spool_in(tmp_path / "spool", min_free_bytes=MIB) as spool:
        free = (await spool.space()).free_bytes
        with pytest.raises(OutOfSpace):
            await spool.reserve("up", "ann", free + (1 << 40))
        assert (await spool.ids(), (await spool.space()).reserved_bytes) == ([], 0)
        await spool.reserve("up", "ann", MIB)


async def test_a_cancelled_reservation_leaves_nothing(tmp_path: Path) -> None:
    """Whoever stops waiting for a place does not own one."""
    async with spool_in(tmp_path / "spool") as spool:
        reserving = asyncio.create_task(spool.reserve("up", "ann", MIB))
        await asyncio.sleep(0)
        reserving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reserving
        assert (await spool.ids(), (await spool.space()).reserved_bytes) == ([], 0)


async def test_an_orphan_is_not_taken_for_a_new_upload(tmp_path: Path) -> None:
    """A file of that name that nobody has adopted stays as it is."""
    async with spool_in(tmp_path / "spool") as spool:
        spool.path("up").write_bytes(b"orphan")
        with pytest.raises(StagingUnavailable):
            await spool.reserve("up", "ann", 10)
        assert spool.path("up").read_bytes() == b"orphan"
        assert await spool.ids() == ["up"]


async def test_a_restart_finds_bytes_and_reservations(tmp_path: Path) -> None:
    """Adopted uploads are read, written and counted as before."""
    data = os.urandom(100 * KIB)
    async with spool_in(tmp_path / "spool") as spool:
        await spool.reserve("up", "ann", MIB)
        write(spool, "up", 200 * KIB, data)
    async with spool_in(tmp_path / "spool", user_quota_bytes=MIB) as spool:
        assert await spool.ids() == ["up"]
        assert await spool.adopt("up", "ann", MIB, [Extent(200 * KIB, 100 * KIB, 0)])
        assert (await spool.space()).reserved_bytes == MIB
        with pytest.raises(UserQuotaExceeded):
            await spool.reserve("more", "ann", 1)
        write(spool, "up", 0, data)
        assert read(spool, "up", 200 * KIB, 100 * KIB) == data


async def test_a_restart_does_not_take_released_room_again(tmp_path: Path) -> None:
    """An upload that was idle before the restart is idle after it, and regains its room when it goes on."""
    async with spool_in(tmp_path / "spool") as spool:
        await spool.reserve("up", "ann", MIB)
        write(spool, "up", 0, b"x" * 4096)
        await spool.release_room("up")
    async with spool_in(tmp_path / "spool") as spool:
        assert await spool.adopt("up", "ann", MIB, [Extent(0, 4096, 0)])
        assert (await spool.space()).reserved_bytes == 4096
        await spool.regain_room("up")
        assert spool.path("up").stat().st_blocks * 512 >= MIB


async def test_of_a_file_shorter_than_recorded_what_is_there_is_adopted(tmp_path: Path) -> None:
    """What lies behind its end is gone, whatever the database says."""
    async with spool_in(tmp_path / "spool") as spool:
        await spool.reserve("up", "ann", MIB)
        write(spool, "up", 0, b"x" * 4096)
    async with spool_in(tmp_path / "spool") as spool:
        whole, cut = Extent(0, 4096, 0), Extent(4096, 1, 0)
        assert await spool.adopt("up", "ann", MIB, [whole, cut]) == [whole]


async def test_what_is_owed_counts_where_blocks_cannot_be_allocated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without fallocate the ledger alone keeps the room: half the volume is promised once, not three times."""
    without_fallocate(monkeypatch)
    async with spool_in(tmp_path / "spool") as spool:
        half = (await spool.space()).free_bytes // 2
        await spool.reserve("first", "ann", half)
        assert spool.path("first").stat().st_blocks == 0
        with pytest.raises(OutOfSpace):
            await spool.reserve("second", "ann", half + half // 2)
        await spool.release_room("first")
        await spool.reserve("second", "ann", half + half // 2)
        with pytest.raises(OutOfSpace):
            await spool.regain_room("first")


async def test_descriptors_are_not_kept_for_ever(tmp_path: Path) -> None:
    """Of fifty uploads written to, four stay open; all are readable."""
    async with spool_in(tmp_path / "spool", max_open_files=4) as spool:
        for number in range(50):
            await spool.reserve(f"up{number}", "ann", 10)
            write(spool, f"up{number}", 0, b"%010d" % number)
        held = [str(entry.readlink()) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
        assert sum(path.startswith(f"{tmp_path}/spool/up") for path in held) <= 5
        assert [read(spool, f"up{number}", 0, 10) for number in range(50)] == [
            b"%010d" % number for number in range(50)
        ]


async def test_a_writer_that_comes_while_room_is_given_back_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its bytes are not punched out again: it begins when the holes are made."""
    punch, waiting = calls.punch_hole, threading.Semaphore(0)
    order: list[str] = []

    class Watched(threading.Condition):
        def wait(self, timeout: float | None = None) -> bool:
            waiting.release()
            return super().wait(timeout)

    def slow_punch(fd: int, offset: int, length: int) -> bool:
        assert waiting.acquire(timeout=30)  # the writer has come, and waits
        order.append("punched")
        return punch(fd, offset, length)

    def late() -> None:
        write(spool, "up", 0, b"x" * 64 * KIB)
        order.append("written")

    monkeypatch.setattr("app.staging.spool.spool.punch_hole", slow_punch)
    async with spool_in(tmp_path / "spool") as spool:
        spool._places._changed = Watched()
        await spool.reserve("up", "ann", MIB)
        write(spool, "up", 128 * KIB, b"y")
        releasing = asyncio.create_task(spool.release_room("up"))
        while not spool._places._places["up"].quiet:
            await asyncio.sleep(0)
        await asyncio.to_thread(late)
        await releasing
        assert order == ["punched", "written"]
        assert read(spool, "up", 0, 64 * KIB) == b"x" * 64 * KIB


async def test_write_back_that_cannot_begin_is_a_failed_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk said that it can't keep the bytes: no later sync is believed."""
    begun = threading.Event()

    def failing(*_: int) -> None:
        begun.set()
        raise OSError(errno.EIO, "Input/output error")

    async with spool_in(tmp_path / "spool") as spool:
        await spool.reserve("up", "ann", 10)
        monkeypatch.setattr("app.staging.spool.writeback.start_writeback", failing)
        write(spool, "up", 0, b"x")
        await asyncio.to_thread(begun.wait)
        await asyncio.to_thread(spool._write_back.close)
        with pytest.raises(SyncFailed):
            await spool.sync("up")
        with pytest.raises(SyncFailed):
            write(spool, "up", 1, b"x")


async def test_who_writes_does_not_wait_for_write_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk whose queue is full holds the write-back thread, and nobody else."""
    going_on = threading.Event()
    monkeypatch.setattr("app.staging.spool.writeback.start_writeback", lambda *_: going_on.wait())
    async with spool_in(tmp_path / "spool") as spool:
        await spool.reserve("up", "ann", 10)
        write(spool, "up", 0, b"xy")
        write(spool, "up", 2, b"z")
        await spool.sync("up")
        assert read(spool, "up", 0, 3) == b"xyz"
        going_on.set()
