"""Files in a directory.

Laws: a stored file's id is its path relative to the root. Paths are validated names, walked without following
symbolic links (`folders`). Final names appear whole and durable (`publish`). Our own files are in `.forebay`.
Coroutines hand what blocks to the destination's threads.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext, suppress
from pathlib import Path
from threading import Lock
from typing import Final

from app.core.errors import DestinationUnavailable, InvalidName, NotFound
from app.core.names import validate_filename, validate_folder
from app.core.upload import KIB, NameConflictPolicy, StoredFile
from app.destinations.disk.faults import system_faults
from app.destinations.disk.folders import Folders
from app.destinations.disk.publish import publish
from app.destinations.disk.session import DiskSession
from app.destinations.port import Abilities, Digests, Target
from app.posix.calls import creation_mode
from app.posix.sync_rounds import DirectorySync
from app.posix.threads import run_or_undo, run_to_end

__all__ = ["DiskDestination"]

_PIECE_BYTES: Final = 256 * KIB
_READABLE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # NONBLOCK: a FIFO must not hold us
_ABANDONED_S: Final = 30 * 86_400.0  # longer than an upload lives; a copy removed too early starts over
_PROBE: Final = ("probe", "probe.link")
_NO_LINK: Final = frozenset({errno.EXDEV, errno.EPERM})


class DiskDestination:
    """`Destination`, `TakesOver` and `ServesFiles` over a directory."""

    def __init__(self, root: Path, *, file_mode: int | None = None, threads: int = 4) -> None:
        """Describe it; the directory is made by the first use.

        Args:
            root: the directory.
            file_mode: permissions of stored files; 0666 less the process's umask when None.
            threads: for what blocks.
        """
        self.root = root.absolute()
        self._file_mode = creation_mode() if file_mode is None else file_mode
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="disk")
        self._entries = DirectorySync()
        self._folders = Folders(self.root, self._entries)
        self._making = Lock()
        self._made = False
        self._takes_links: dict[Path, bool] = {}  # by the folder of the source

    @property
    def abilities(self) -> Abilities:
        """In order, any size."""
        return Abilities()

    async def check(self) -> None:
        """Write, link and remove a file."""
        await run_to_end(self._executor, self._check)

    async def begin(self, target: Target, saved: str | None) -> DiskSession:
        """Copy instead of linking."""
        _validate(target)
        await run_to_end(self._executor, self._make_root)
        session = DiskSession(
            target,
            folders=self._folders,
            entries=self._entries,
            executor=self._executor,
            file_mode=self._file_mode,
        )
        await session.begin(saved)
        return session

    async def aclose(self) -> None:
        """Wait for the threads."""
        await asyncio.to_thread(self._executor.shutdown)

    def can_take_over(self, source: Path) -> bool:
        """Whether `source` can be linked here (link(2) refuses two mounts of one file system). Looked up once per folder."""
        parent = source.parent
        if parent not in self._takes_links:
            self._make_root()
            with system_faults("be looked at"):
                self._takes_links[parent] = _mount_id(parent) == _mount_id(self.root) and self._links(source)
        return self._takes_links[parent]

    async def take_over(self, target: Target, source: Path, digests: Digests) -> StoredFile:
        """Link `source` to its final name; its digests were computed over the very same file."""
        del digests
        _validate(target)
        return await run_to_end(self._executor, self._take_over, target, source)

    async def take_back(self, stored_id: str, source: Path) -> None:
        """Remove that link, durably."""
        await run_to_end(self._executor, self._take_back, stored_id, source)

    @asynccontextmanager
    async def open_range(
        self, stored_id: str, start: int, end: int, *, size: int
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Pieces of at most 256 KiB."""
        fd = await run_or_undo(self._executor, os.close, self._open_stored, stored_id, size)
        pieces = self._pieces(fd, start, end)
        try:
            yield pieces
        finally:
            await pieces.aclose()
            os.close(fd)

    async def delete(self, stored_id: str) -> None:
        """Remove a stored file, durably."""
        await run_to_end(self._executor, self._delete, stored_id)

    async def _pieces(self, fd: int, start: int, end: int) -> AsyncGenerator[bytes]:
        position = start
        while position < end:
            piece = await run_to_end(self._executor, self._read, fd, position, min(_PIECE_BYTES, end - position))
            if not piece:
                raise DestinationUnavailable("The stored file is shorter than it was.")
            yield piece
            position += len(piece)

    # -- in threads ----------------------------------------------------------------------------------------------

    def _make_root(self) -> None:
        """Once: a root that vanishes later (a volume not mounted) is not made again under its mount point."""
        with self._making:
            if not self._made:
                try:
                    self._folders.make_root()
                except OSError as exc:
                    raise DestinationUnavailable(
                        f"The destination's directory can't be made or used ({exc.strerror})."
                    ) from exc
                with system_faults("be written"):
                    self._tidy()
                self._made = True

    def _tidy(self) -> None:
        """Remove what a power cut has left of ours: links to published files, steps, copies that nobody goes on with."""
        with self._folders.private() as private, os.scandir(private) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                if status.st_nlink > 1 or time.time() - status.st_mtime > _ABANDONED_S:
                    with suppress(FileNotFoundError):
                        os.unlink(entry.name, dir_fd=private)

    def _check(self) -> None:
        self._make_root()
        with system_faults("store files"), self._folders.private() as private:
            for name in _PROBE:
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=private)
            fd = os.open(_PROBE[0], os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=private)
            os.close(fd)
            try:
                os.link(_PROBE[0], _PROBE[1], src_dir_fd=private, dst_dir_fd=private, follow_symlinks=False)
                os.unlink(_PROBE[1], dir_fd=private)
            finally:
                os.unlink(_PROBE[0], dir_fd=private)

    def _links(self, source: Path) -> bool:
        """Try it: two subvolumes of btrfs, or two projects of a quota, are one mount and refuse links all the same."""
        step = f"{source.name}.link"
        with self._folders.private() as private:
            with suppress(FileNotFoundError):
                os.unlink(step, dir_fd=private)
            try:
                os.link(source, step, dst_dir_fd=private, follow_symlinks=False)
            except OSError as exc:
                if exc.errno in _NO_LINK:
                    return False
                raise
            os.unlink(step, dir_fd=private)
        return True

    def _take_over(self, target: Target, source: Path) -> StoredFile:
        self._make_root()
        with (
            system_faults("publish the file"),
            self._folders.opened(target.folder, make=True) as folder,
            self._private_for(target) as private,
        ):
            source.chmod(self._file_mode)
            name = publish(target, source, source_dir=None, folder=folder, private=private)
            self._entries.sync(folder)
            size = os.stat(name, dir_fd=folder, follow_symlinks=False).st_size
        stored_id = f"{target.folder}/{name}" if target.folder else name
        return StoredFile(id=stored_id, name=name, size=size)

    def _take_back(self, stored_id: str, source: Path) -> None:
        folder, name = _split(stored_id)
        with system_faults("take the file back"), self._folders.opened(folder) as parent, suppress(FileNotFoundError):
            ours, found = source.stat(), os.stat(name, dir_fd=parent, follow_symlinks=False)
            if (ours.st_dev, ours.st_ino) == (found.st_dev, found.st_ino):
                os.unlink(name, dir_fd=parent)
                self._entries.sync(parent)

    def _private_for(self, target: Target) -> AbstractContextManager[int]:
        """Our own folder, where `publish` goes by it: opening it costs more than the link."""
        replacing = target.on_conflict is NameConflictPolicy.REPLACE
        return self._folders.private() if replacing else nullcontext(-1)

    def _open_stored(self, stored_id: str, size: int) -> int:
        folder, name = _split(stored_id)
        with system_faults("be read"), _gone_is_not_found(), self._folders.opened(folder) as parent:
            fd = os.open(name, _READABLE, dir_fd=parent)
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            os.close(fd)
            raise NotFound
        if status.st_size != size:
            os.close(fd)
            raise DestinationUnavailable("The stored file has another size than it had.")
        return fd

    @staticmethod
    def _read(fd: int, position: int, length: int) -> bytes:
        with system_faults("be read"):
            return os.pread(fd, length, position)

    def _delete(self, stored_id: str) -> None:
        folder, name = _split(stored_id)
        with (
            suppress(NotFound),
            system_faults("remove the file"),
            _gone_is_not_found(),
            self._folders.opened(folder) as parent,
        ):
            os.unlink(name, dir_fd=parent)
            self._entries.sync(parent)


def _validate(target: Target) -> None:
    """Where it was checked before it came here is not this room's to know."""
    validate_folder(target.folder)
    validate_filename(target.filename)


@contextmanager
def _gone_is_not_found() -> Iterator[None]:
    """A missing name, or a symbolic link or file where a folder was: what was stored is not there any more."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise NotFound from exc
    except OSError as exc:
        if exc.errno == errno.ELOOP:
            raise NotFound from exc
        raise


def _split(stored_id: str) -> tuple[str, str]:
    folder, _, name = stored_id.rpartition("/")
    try:
        return validate_folder(folder), validate_filename(name)
    except InvalidName as exc:
        raise NotFound from exc


def _mount_id(directory: Path) -> int:
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for line in Path(f"/proc/self/fdinfo/{fd}").read_text(encoding="ascii").splitlines():
            if line.startswith("mnt_id:"):
                return int(line.split()[1])
    finally:
        os.close(fd)
    raise OSError(errno.ENOTSUP, "the system does not say on which mount it lies")
