"""fallocate(2) and sync_file_range(2) through the C library; both release the GIL.

`os.posix_fallocate` is no substitute: glibc emulates it by writing a byte into every block where the file system
has no fallocate, and it can't punch holes.
"""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path
from typing import Final

__all__ = ["creation_mode", "preallocate", "punch_hole", "start_writeback"]

_KEEP_SIZE: Final = 0x01  # linux/falloc.h
_PUNCH_HOLE: Final = 0x02
_SYNC_FILE_RANGE_WRITE: Final = 2  # linux/fs.h
_NOT_HERE: Final = frozenset({errno.EOPNOTSUPP, errno.ENOSYS})

_libc = ctypes.CDLL(None, use_errno=True)
_off_t = ctypes.c_int64
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, _off_t, _off_t)
_libc.sync_file_range.argtypes = (ctypes.c_int, _off_t, _off_t, ctypes.c_uint)


def _fallocate(fd: int, mode: int, offset: int, length: int) -> bool:
    while _libc.fallocate(fd, mode, offset, length) != 0:
        code = ctypes.get_errno()
        if code in _NOT_HERE:
            return False
        if code != errno.EINTR:
            raise OSError(code, os.strerror(code))
    return True


def preallocate(fd: int, offset: int, length: int) -> bool:
    """Allocate blocks for the range without changing the file's size; False when the file system can't.

    Args:
        fd: a file open for writing.
        offset: first byte.
        length: bytes; 0 does nothing.

    Raises:
        OSError: ENOSPC or EDQUOT when there is no room, in which case part of the range may have been allocated.
    """
    return length == 0 or _fallocate(fd, _KEEP_SIZE, offset, length)


def punch_hole(fd: int, offset: int, length: int) -> bool:
    """Give the whole blocks of the range back; it reads as zeros. False when the file system can't."""
    return length == 0 or _fallocate(fd, _PUNCH_HOLE | _KEEP_SIZE, offset, length)


def start_writeback(fd: int, offset: int, length: int) -> None:
    """Begin to write the range's dirty pages to the disk, without waiting for it: a hint, where it is known.

    Raises:
        OSError: the write-back could not be begun (EIO, ENOSPC of a delayed allocation).
    """
    if length and _libc.sync_file_range(fd, offset, length, _SYNC_FILE_RANGE_WRITE) != 0:
        code = ctypes.get_errno()
        if code not in _NOT_HERE:
            raise OSError(code, os.strerror(code))


def creation_mode() -> int:
    """The permissions that a program's new files get: 0666 less the umask (read, not set: it is the process's)."""
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("Umask:"):
            return 0o666 & ~int(line.split()[1], 8)
    return 0o644
