"""A small real file system that a test may fill, make read-only or cut the power of.

An ext4 image on a loop device, mounted below a directory of the test's. Needs root; `unavailable` says why not.
"""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
from pathlib import Path
from typing import Final, Self

__all__ = ["LoopFilesystem", "unavailable"]

_EXT4_IOC_SHUTDOWN: Final = 0x8004587D  # fs/ext4/ext4.h
_NOLOGFLUSH: Final = struct.pack("I", 2)  # what is not in the journal on disk is gone, as with the power


def unavailable() -> str | None:
    """Why there can be no such file system here; None when there can."""
    if os.geteuid() != 0:
        return "mounting a file system needs root"
    if not Path("/dev/loop-control").exists():
        return "there are no loop devices here"
    return None


class LoopFilesystem:
    """Context manager; nothing stays mounted after it, whatever happened inside."""

    def __init__(self, directory: Path, *, size_mib: int = 24, mkfs_options: tuple[str, ...] = ()) -> None:
        """Describe it.

        Args:
            directory: for the image and the mount point.
            size_mib: of the image.
            mkfs_options: for mkfs.ext4, as in `("-N", "32")`.
        """
        self._image = directory / "ext4.img"
        self._size = size_mib << 20
        self._mkfs_options = mkfs_options
        self.path = directory / "mnt"

    def __enter__(self) -> Self:
        """Make and mount it."""
        with self._image.open("xb") as image:
            image.truncate(self._size)
        # -m 0: no blocks kept for root, who runs the tests.
        _run("mkfs.ext4", "-q", "-F", "-m", "0", *self._mkfs_options, str(self._image))
        self.path.mkdir()
        self._mount()
        return self

    def __exit__(self, *_: object) -> None:
        """Unmount it, also when something still holds it; the loop device goes with the last user."""
        if self.path.is_mount():
            _run("umount", "--lazy", str(self.path))
        self._image.unlink(missing_ok=True)

    def lose_power(self) -> None:
        """From now on nothing reaches the disk, and all calls fail with EIO."""
        fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(fd, _EXT4_IOC_SHUTDOWN, _NOLOGFLUSH)
        finally:
            os.close(fd)

    def boot(self) -> None:
        """Mount again what is on the disk; nobody may hold the old mount."""
        _run("umount", str(self.path))
        self._mount()

    def remount(self, *, read_only: bool) -> None:
        """Switch between read-only and writable."""
        _run("mount", "-o", "remount,ro" if read_only else "remount,rw", str(self.path))

    def _mount(self) -> None:
        _run("mount", "-o", "loop", str(self._image), str(self.path))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - fixed commands of a test
