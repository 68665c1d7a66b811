"""Folders below the root, reached component by component.

Laws: every step opens one name relative to the folder before it and follows no symbolic link, so that nobody who can
write in the root leads us out of it. A folder made here, or found for the first time in this process (somebody may
have made it and not lived to sync it), is used only when its entry in the parent is durable.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from app.core.errors import DestinationUnavailable
from app.core.names import PRIVATE_PREFIX
from app.posix.sync_rounds import DirectorySync

__all__ = ["Folders"]

_OPEN_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Folders:
    """The tree below a root. Blocking; any thread.

    Raises OSError, as the system does (a missing folder: FileNotFoundError), and DestinationUnavailable for the root.
    """

    def __init__(self, root: Path, entries: DirectorySync) -> None:
        """Describe the tree; nothing is touched.

        Args:
            root: absolute; may itself be, or lie behind, a symbolic link.
            entries: makes directory entries durable.
        """
        self._root = root
        self._entries = entries
        self._durable: set[tuple[int, int]] = set()  # folders, by device and inode, whose entry is known to be durable

    def make_root(self) -> None:
        """Make the root and the folders above it, as far as they are missing."""
        missing = [path for path in (self._root, *self._root.parents) if not path.exists()]
        for path in reversed(missing):
            path.mkdir(exist_ok=True)
            parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                self._entries.sync(parent)
            finally:
                os.close(parent)

    @contextmanager
    def opened(self, folder: str, *, make: bool = False) -> Iterator[int]:
        """The descriptor of a validated relative folder, "" for the root; with `make`, missing ones are made."""
        with ExitStack() as stack:
            current = self._open_root()
            stack.callback(os.close, current)
            for name in folder.split("/") if folder else ():
                current = self._step(current, name, make=make, mode=0o777)
                stack.callback(os.close, current)
            yield current

    @contextmanager
    def private(self) -> Iterator[int]:
        """The descriptor of our own folder in the root, made when missing."""
        with self.opened("") as root:
            fd = self._step(root, PRIVATE_PREFIX, make=True, mode=0o700)
            try:
                yield fd
            finally:
                os.close(fd)

    def _open_root(self) -> int:
        try:
            return os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as exc:
            raise DestinationUnavailable(f"The destination's directory can't be opened now ({exc.strerror}).") from exc

    def _step(self, parent: int, name: str, *, make: bool, mode: int) -> int:
        made = False
        if make:
            with suppress(FileExistsError):
                os.mkdir(name, mode, dir_fd=parent)
                made = True  # perhaps under the inode number of one that was removed
        fd = os.open(name, _OPEN_FOLDER, dir_fd=parent)
        try:
            status = os.fstat(fd)
            key = (status.st_dev, status.st_ino)
            if made or (make and key not in self._durable):
                self._entries.sync(parent)
                self._durable.add(key)
        except BaseException:
            os.close(fd)
            raise
        return fd
