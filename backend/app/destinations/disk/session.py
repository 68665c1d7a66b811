"""A file on its way to the directory, where it can't be linked: a copy in a part file of ours, then a link.

Laws:
- The part is `.forebay/ID.part` in the root. Its length is what is committed, as long as the machine has not been
  booted since: after a power cut the length may be ahead of the data, and the copy starts over.
- No descriptor outlives a call: a session may be dropped at any time and begun again from its `state`.
- The bytes written are checksummed; `finish` compares before it publishes. A failed sync throws the part away.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final, NoReturn

from crc32c import crc32c

from app.core.errors import DestinationMismatch, DestinationUnavailable
from app.core.upload import MIB, StoredFile
from app.destinations.disk.faults import system_faults
from app.destinations.disk.folders import Folders
from app.destinations.disk.publish import own_name, publish
from app.destinations.port import Digests, Source, Target
from app.posix.calls import preallocate, start_writeback
from app.posix.sync_rounds import DirectorySync
from app.posix.threads import run_or_undo, run_to_end

__all__ = ["DiskSession"]

_WRITEBACK_BYTES: Final = 16 * MIB  # started each time so much was written, so that the final sync is short
_READ_BYTES: Final = MIB


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


class DiskSession:
    """`TransferSession` of a directory."""

    def __init__(
        self, target: Target, *, folders: Folders, entries: DirectorySync, executor: Executor, file_mode: int
    ) -> None:
        """Describe it; `begin` must follow.

        Args:
            target: what is stored.
            folders: the tree.
            entries: makes directory entries durable.
            executor: threads for what blocks.
            file_mode: permissions of the final file.
        """
        self._target = target
        self._folders = folders
        self._entries = entries
        self._executor = executor
        self._file_mode = file_mode
        self._part = Path(f"{target.upload_id}.part")
        self._boot = ""
        self._inode = 0
        self._committed = 0
        self._crc32c = 0
        self._published: str | None = None  # the final name, found by `begin` after a crash

    @property
    def state(self) -> str:
        """Boot and inode of the part."""
        return json.dumps({"boot": self._boot, "inode": self._inode})

    @property
    def committed(self) -> int:
        """Bytes in the part."""
        return self._committed

    async def begin(self, saved: str | None) -> None:
        """Find the part, or the published file, of an earlier session; else make a new part."""
        await run_to_end(self._executor, self._begin, saved)

    def declare(self, size: int) -> None:
        """For `finish`."""
        if self._target.length_deferred:
            self._target = replace(self._target, size=size, length_deferred=False)

    async def append(self, pieces: AsyncIterator[memoryview], length: int) -> int:
        """Write the pieces at the end of the part; of a file that is published already there are none."""
        del length  # what comes counts
        if self._published is not None:
            async for _ in pieces:
                pass
            return self._committed
        fd = await run_or_undo(self._executor, os.close, self._open_part)
        try:
            async for piece in pieces:
                await run_to_end(self._executor, self._write, fd, piece)
        finally:
            await run_to_end(self._executor, os.close, fd)  # where it writes what it has kept back (NFS), it blocks
        return self._committed

    async def finish(self, digests: Digests, source: Source) -> StoredFile:
        """Compare, sync, publish."""
        del source  # all was appended
        return await run_to_end(self._executor, self._finish, digests)

    async def abort(self) -> None:
        """Remove the part, or the published file."""
        await run_to_end(self._executor, self._abort)

    # -- in threads ----------------------------------------------------------------------------------------------

    def _begin(self, saved: str | None) -> None:
        with system_faults("be written"), self._folders.private() as private:
            self._boot = _boot_id()
            if not self._go_on(private, *_parse(saved)):
                self._start_over(private)

    def _go_on(self, private: int, boot: str, inode: int) -> bool:
        """Take up the published file or the part of an earlier session."""
        status = None
        with suppress(FileNotFoundError):
            status = os.stat(self._part, dir_fd=private, follow_symlinks=False)
        if (status is None or (status.st_ino == inode and status.st_nlink > 1)) and self._find_published(
            private, inode
        ):
            return True
        if status is None or status.st_ino != inode or boot != self._boot:
            return False
        self._inode = inode
        self._committed, self._crc32c = _read_crc(self._part, private)
        return True

    def _find_published(self, private: int, inode: int) -> bool:
        """Look for our inode in the folder: `finish` may have linked it, and have removed the part."""
        device = os.fstat(private).st_dev
        with suppress(FileNotFoundError), self._folders.opened(self._target.folder) as folder:
            name = own_name(folder, device, inode)
            if name is not None:
                size, crc = _read_crc(Path(name), folder)
                if size == self._target.size:
                    self._inode, self._committed, self._crc32c, self._published = inode, size, crc, name
                    return True
        return False

    def _start_over(self, private: int) -> None:
        self._committed = self._crc32c = 0
        with suppress(FileNotFoundError):
            os.unlink(self._part, dir_fd=private)
        fd = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=private)
        try:
            self._inode = os.fstat(fd).st_ino
            if not self._target.length_deferred:
                preallocate(fd, 0, self._target.size)
        except BaseException:
            os.unlink(self._part, dir_fd=private)
            raise
        finally:
            os.close(fd)

    def _open_part(self) -> int:
        """Open the part; when it is not as we left it, start over and say so."""
        with system_faults("be written"), self._folders.private() as private:
            with suppress(FileNotFoundError):
                fd = os.open(self._part, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=private)
                status = os.fstat(fd)
                if status.st_ino == self._inode and status.st_size >= self._committed:
                    return fd
                os.close(fd)
            self._start_over(private)
        raise DestinationUnavailable("The copy under way was lost at the destination and starts over.")

    def _write(self, fd: int, piece: memoryview) -> None:
        with system_faults("be written"):
            while piece:
                written = os.pwrite(fd, piece, self._committed)
                if not written:
                    raise DestinationUnavailable
                self._crc32c = crc32c(piece[:written], self._crc32c)
                before, self._committed = self._committed, self._committed + written
                if before // _WRITEBACK_BYTES != self._committed // _WRITEBACK_BYTES:
                    start = before - before % _WRITEBACK_BYTES
                    start_writeback(fd, start, self._committed - start)
                piece = piece[written:]

    def _finish(self, digests: Digests) -> StoredFile:
        if self._committed != self._target.size or self._crc32c != digests.crc32c:
            self._refuse()
        if self._published is None:
            self._make_durable()
        with (
            system_faults("publish the file"),
            self._folders.private() as private,
            self._folders.opened(self._target.folder, make=True) as folder,
        ):
            name = self._published = self._published or publish(
                self._target, self._part, source_dir=private, folder=folder, private=private
            )
            self._entries.sync(folder)
            with suppress(FileNotFoundError):
                os.unlink(self._part, dir_fd=private)
        stored_id = f"{self._target.folder}/{name}" if self._target.folder else name
        return StoredFile(id=stored_id, name=name, size=self._committed, crc32c=self._crc32c)

    def _refuse(self) -> NoReturn:
        if self._published is None:
            with system_faults("be written"), self._folders.private() as private:
                self._start_over(private)
            raise DestinationMismatch("The destination holds other bytes than were received. Nothing was published.")
        # What `begin` found is another file that got our inode's number: ours was published and removed, or lost.
        self._published = None
        with system_faults("be written"), self._folders.private() as private:
            self._start_over(private)
        raise DestinationUnavailable("The copy under way was lost at the destination and starts over.")

    def _make_durable(self) -> None:
        fd = self._open_part()
        try:
            with system_faults("keep the file's bytes"):
                os.ftruncate(fd, self._committed)
                os.fchmod(fd, self._file_mode)
                try:
                    os.fsync(fd)
                except OSError:
                    with self._folders.private() as private:
                        self._start_over(private)
                    raise
        finally:
            os.close(fd)

    def _abort(self) -> None:
        with system_faults("remove the copy under way"), self._folders.private() as private:
            with suppress(FileNotFoundError):
                os.unlink(self._part, dir_fd=private)
            if self._published is not None:
                self._unpublish(self._published)
                self._published = None

    def _unpublish(self, name: str) -> None:
        with suppress(FileNotFoundError), self._folders.opened(self._target.folder) as folder:
            if os.stat(name, dir_fd=folder, follow_symlinks=False).st_ino == self._inode:
                os.unlink(name, dir_fd=folder)
                self._entries.sync(folder)


def _parse(saved: str | None) -> tuple[str, int]:
    """Boot id and inode of a state; of none, or of another destination's, such as match nothing."""
    with suppress(ValueError, TypeError, KeyError):
        state = json.loads(saved or "{}")
        return str(state["boot"]), int(state["inode"])
    return "", 0


def _read_crc(path: Path, folder: int) -> tuple[int, int]:
    """Length and CRC32C of all that the file holds."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        buffer = memoryview(bytearray(_READ_BYTES))
        length = crc = 0
        while count := os.preadv(fd, [buffer], length):
            crc = crc32c(buffer[:count], crc)
            length += count
        return length, crc
    finally:
        os.close(fd)
