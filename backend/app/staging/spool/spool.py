"""Staging on a disk: a sparse file per upload, named by its id.

Laws:
- Room is reserved by the ledger (`ledger`) and taken with fallocate(2), which keeps the file's size: the size is
  where the highest byte written ends. Where the file system has no fallocate the ledger alone counts.
- Descriptors and syncs have laws of their own (`places`).
- Ids are checked before they become names, and every name is used relative to the spool's own descriptor.
- Coroutines do nothing but hand work to the spool's threads; what they began is ended or undone, cancelled or not.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.core.errors import NotFound, StagingUnavailable, SyncFailed
from app.core.upload import Extent
from app.posix.calls import preallocate, punch_hole
from app.posix.sync_rounds import DirectorySync
from app.posix.threads import run_to_end
from app.staging.spool.faults import NO_ROOM, sync_faults, system_faults
from app.staging.spool.ledger import RoomLedger
from app.staging.spool.places import Place, PlaceTable
from app.staging.spool.writeback import WriteBack
from app.staging.spool.writer import SpoolWriter

__all__ = ["SpoolSpace", "SpoolStaging"]

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)
_PROBE: Final = ".probe"  # no id: the dot
_STAT_BLOCK_BYTES: Final = 512  # the unit of st_blocks, whatever the file system's own (stat(2))
_CLOSED: Final = -1
_COPY_BYTES: Final = 16 << 20  # in one system call, for which other writers of the file wait


@dataclass(frozen=True, slots=True)
class SpoolSpace:
    """Room in bytes."""

    total_bytes: int
    free_bytes: int  # what a new upload could have
    reserved_bytes: int


class SpoolStaging:
    """`Staging` and `Linkable` over a directory."""

    def __init__(
        self,
        directory: Path,
        *,
        min_free_bytes: int,
        user_quota_bytes: int | None = None,
        max_open_files: int = 256,
        threads: int = 2,
        slow_threads: int = 4,
    ) -> None:
        """Describe the spool; nothing is touched before `open`.

        Args:
            directory: made with mode 0700 when missing; nobody else may write there.
            min_free_bytes: room of the volume that is never given to uploads.
            user_quota_bytes: most bytes that one owner's uploads may reserve together.
            max_open_files: descriptors kept open between uses; those in use come on top.
            threads: for what ends soon; few, since each one more that wants the interpreter's lock slows all.
            slow_threads: for what may take seconds: syncs, and the removal of large files.
        """
        self._directory = directory.absolute()
        self._dirfd = _CLOSED
        self._preallocates = True
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="spool")
        self._slow = ThreadPoolExecutor(slow_threads, thread_name_prefix="spool-slow")
        self._entries = DirectorySync()
        self._places = PlaceTable(self._open_file, max_open=max_open_files)
        self._write_back = WriteBack(self._places)
        self._ledger = RoomLedger(
            available=self._available,
            allocated=self._allocated,
            min_free_bytes=min_free_bytes,
            user_quota_bytes=user_quota_bytes,
        )

    async def open(self) -> None:
        """Make and open the directory, and see whether room can be allocated there.

        Raises:
            StagingUnavailable: it can't be used; the message says why.
        """
        await run_to_end(self._executor, self._open)

    async def aclose(self) -> None:
        """Wait for what is under way and let go of the directory. Writers must be closed."""
        await asyncio.to_thread(self._executor.shutdown)
        await asyncio.to_thread(self._slow.shutdown)
        await asyncio.to_thread(self._write_back.close)
        self._places.close()
        if self._dirfd != _CLOSED:
            os.close(self._dirfd)
            self._dirfd = _CLOSED

    async def reserve(self, upload_id: str, owner: str, size: int) -> None:
        """Set `size` bytes aside and make the place."""
        try:
            await run_to_end(self._executor, self._reserve, upload_id, owner, size)
        except asyncio.CancelledError:
            await run_to_end(self._slow, self._discard, upload_id)
            raise

    async def adopt(self, upload_id: str, owner: str, size: int, recorded: Sequence[Extent]) -> list[Extent] | None:
        """Take up a place found at start."""
        return await run_to_end(self._executor, self._adopt, upload_id, owner, size, recorded)

    async def release_room(self, upload_id: str) -> None:
        """Give up the room in which nothing was written; no effect while somebody writes, or on an unknown id."""
        await run_to_end(self._slow, self._release_room, upload_id)

    async def regain_room(self, upload_id: str) -> None:
        """Set the released room aside again."""
        await run_to_end(self._slow, self._regain_room, upload_id)

    async def resize(self, upload_id: str, size: int) -> None:
        """Set `size` bytes aside, no more and no less; what was written beyond them is cut off."""
        await run_to_end(self._slow, self._resize, upload_id, size)

    async def copy(self, source_id: str, offset: int, length: int, target_id: str, position: int) -> None:
        """Put bytes of one upload into another."""
        await run_to_end(self._slow, self._copy, source_id, offset, length, target_id, position)

    def open_writer(self, upload_id: str, offset: int) -> SpoolWriter:
        """A writer at `offset`. Blocking."""
        place = self._places.borrow(upload_id, writing=True)
        return SpoolWriter(
            place,
            offset,
            sync=lambda: self._sync_place(place),
            write_back=lambda start, length: self._write_back.begin(upload_id, start, length),
            close=lambda: self._places.give_back(upload_id, place, writing=True),
        )

    def read_into(self, upload_id: str, offset: int, view: memoryview) -> int:
        """Fill `view` from `offset`. Blocking."""
        done = 0
        with self._places.using(upload_id) as place, system_faults("be read"):
            while done < len(view):
                count = os.preadv(place.fd, [view[done:]], offset + done)
                if not count:
                    break
                done += count
        return done

    async def sync(self, upload_id: str) -> None:
        """Make everything written, and the name, durable."""
        await run_to_end(self._slow, self._sync, upload_id)

    def drop_cache(self, upload_id: str, offset: int, length: int) -> None:
        """Let the page cache go; unsynced pages stay. Blocking."""
        with self._places.using(upload_id) as place, system_faults("be read"):
            os.posix_fadvise(place.fd, offset, length, os.POSIX_FADV_DONTNEED)

    async def discard(self, upload_id: str) -> None:
        """Remove the bytes."""
        await run_to_end(self._slow, self._discard, upload_id)

    async def ids(self) -> list[str]:
        """Ids that have a file."""
        return await run_to_end(self._executor, self._ids)

    async def space(self) -> SpoolSpace:
        """How much room there is."""
        return await run_to_end(self._executor, self._space)

    def path(self, upload_id: str) -> Path:
        """The upload's file; whoever links it elsewhere calls `sync` first."""
        return self._directory / _checked(upload_id)

    # -- in threads ----------------------------------------------------------------------------------------------

    def _open(self) -> None:
        with system_faults(f"be opened at {self._directory}"):
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._dirfd = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            if os.fstat(self._dirfd).st_mode & 0o077:
                os.fchmod(self._dirfd, 0o700)
        self._preallocates = self._probe()

    def _probe(self) -> bool:
        """Whether the file system has fallocate; also shows that the spool can be written."""
        try:
            fd = os.open(_PROBE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=self._dirfd)
            try:
                os.unlink(_PROBE, dir_fd=self._dirfd)
                return preallocate(fd, 0, 1)
            finally:
                os.close(fd)
        except OSError as exc:
            if exc.errno in NO_ROOM:
                return True  # full, yet uploads under way can end; a file system without fallocate shows later
            raise StagingUnavailable(f"The spool {self._directory} can't be written: {exc.strerror}.") from exc

    def _open_file(self, upload_id: str) -> int:
        return os.open(upload_id, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=self._dirfd)

    def _available(self) -> int:
        with system_faults("be asked for its room"):
            volume = os.fstatvfs(self._dirfd)
        return volume.f_bavail * volume.f_frsize

    def _allocated(self, upload_id: str) -> int:
        with system_faults("be asked for its room"):
            try:
                return os.stat(upload_id, dir_fd=self._dirfd, follow_symlinks=False).st_blocks * _STAT_BLOCK_BYTES
            except FileNotFoundError:
                return 0

    def _reserve(self, upload_id: str, owner: str, size: int) -> None:
        _checked(upload_id)
        if upload_id in self._places:
            raise ValueError(f"{upload_id} has a place")
        self._ledger.begin(upload_id, owner, size)
        try:
            with system_faults("make a place for the upload"):
                fd = self._make_file(upload_id, size)
        except BaseException:
            self._ledger.forget(upload_id)
            raise
        self._places.add(upload_id, Place(), fd)

    def _make_file(self, upload_id: str, size: int) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        fd = self._places.opened(lambda: os.open(upload_id, flags, 0o600, dir_fd=self._dirfd))
        try:
            self._allocate(upload_id, fd, size)
        except BaseException:
            os.close(fd)
            with suppress(OSError):  # what can't be removed is an orphan, found at the next start
                os.unlink(upload_id, dir_fd=self._dirfd)
            raise
        return fd

    def _allocate(self, upload_id: str, fd: int, size: int) -> None:
        self._preallocates = self._preallocates and preallocate(fd, 0, size)
        self._ledger.settle(upload_id, on_disk=self._preallocates)

    def _adopt(self, upload_id: str, owner: str, size: int, recorded: Sequence[Extent]) -> list[Extent] | None:
        try:
            found = os.stat(_checked(upload_id), dir_fd=self._dirfd, follow_symlinks=False)
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise StagingUnavailable from exc
        if not stat.S_ISREG(found.st_mode):
            return None
        self._places.add(upload_id, Place())
        self._ledger.adopt(upload_id, owner, size, preallocates=self._preallocates)
        return [extent for extent in recorded if extent.end <= found.st_size]

    def _release_room(self, upload_id: str) -> None:
        if upload_id not in self._places:
            return
        with self._places.quietly(upload_id) as place:
            if place is None:
                return
            with sync_faults():
                # The extents on disk then say what was written, and the descriptor may be closed.
                self._sync_place(place)
            with system_faults("give room back"):
                size = os.fstat(place.fd).st_size
                for start, end in _holes(place.fd, size):
                    punch_hole(place.fd, start, end - start)
                os.ftruncate(place.fd, size)  # same size: gives back what was allocated behind it
            self._ledger.release(upload_id)

    def _regain_room(self, upload_id: str) -> None:
        owner, size = self._owner_and_size(upload_id)
        with self._places.using(upload_id) as place, system_faults("make room for the upload"):
            self._have(upload_id, owner, size, place)

    def _resize(self, upload_id: str, size: int) -> None:
        owner, former = self._owner_and_size(upload_id)
        with self._places.using(upload_id) as place, system_faults("make room for the upload"):
            end = os.fstat(place.fd).st_size
            if end > size or size < former:
                os.ftruncate(place.fd, min(end, size))  # gives back what was allocated behind it, too
                if self._ledger.shrink(upload_id, size):
                    self._allocate(upload_id, place.fd, size)
                    return
            self._have(upload_id, owner, size, place)

    def _copy(self, source_id: str, offset: int, length: int, target_id: str, position: int) -> None:
        target = self._places.borrow(target_id, writing=True)
        try:
            with self._places.using(source_id) as source, system_faults("be copied"):
                if source.damaged:  # its bytes were not synced, and may be others by now
                    raise SyncFailed
                done = 0
                while done < length:
                    with target.writing:
                        # Shares the blocks where the file system can (copy_file_range(2)); else it is a copy in the kernel.
                        count = os.copy_file_range(
                            source.fd, target.fd, min(length - done, _COPY_BYTES), offset + done, position + done
                        )
                    if not count:
                        raise StagingUnavailable("The upload is shorter than what was recorded of it.")
                    target.unsynced = True
                    done += count
        finally:
            self._places.give_back(target_id, target, writing=True)
        self._write_back.begin(target_id, position, length)

    def _owner_and_size(self, upload_id: str) -> tuple[str, int]:
        known = self._ledger.owner_and_size(upload_id)
        if known is None:
            raise StagingUnavailable("The upload has no place in the staging area.")
        return known

    def _have(self, upload_id: str, owner: str, size: int, place: Place) -> None:
        """Set room aside where less is held."""
        if not self._ledger.begin(upload_id, owner, size):
            return
        try:
            self._allocate(upload_id, place.fd, size)
        except BaseException:
            self._ledger.release(upload_id)
            raise

    def _sync_place(self, place: Place) -> None:
        place.sync_data()
        if not place.entry_durable:
            self._entries.sync(self._dirfd)
            place.entry_durable = True

    def _sync(self, upload_id: str) -> None:
        with self._places.using(upload_id) as place, sync_faults():
            self._sync_place(place)

    def _discard(self, upload_id: str) -> None:
        with system_faults("remove the upload's bytes"), suppress(FileNotFoundError):
            os.unlink(_checked(upload_id), dir_fd=self._dirfd)
        self._places.remove(upload_id)
        self._ledger.forget(upload_id)

    def _ids(self) -> list[str]:
        with system_faults("be listed"), os.scandir(self._dirfd) as entries:
            return [entry.name for entry in entries if _ID.fullmatch(entry.name)]

    def _space(self) -> SpoolSpace:
        with system_faults("be asked for its room"):
            volume = os.fstatvfs(self._dirfd)
        return SpoolSpace(volume.f_blocks * volume.f_frsize, self._ledger.free(), self._ledger.reserved())


def _checked(upload_id: str) -> str:
    if not _ID.fullmatch(upload_id):
        raise NotFound
    return upload_id


def _holes(fd: int, size: int) -> list[tuple[int, int]]:
    """Ranges below `size` in which nothing was ever written, allocated or not (lseek(2), SEEK_HOLE)."""
    holes: list[tuple[int, int]] = []
    position = 0
    while position < size:
        start = os.lseek(fd, position, os.SEEK_HOLE)
        if start >= size:
            break
        try:
            position = os.lseek(fd, start, os.SEEK_DATA)
        except OSError as exc:
            if exc.errno != errno.ENXIO:
                raise
            position = size
        holes.append((start, position))
    return holes
