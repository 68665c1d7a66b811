"""Anonymous memory of a fixed size, and copies in and out of it that let other threads run meanwhile.

An assignment between memoryviews keeps the GIL for as long as the copy takes: a fifth of a millisecond for 2 MiB, in which
the event loop stands still, for every byte that comes and once more when it goes.
"""

from __future__ import annotations

import ctypes
import mmap
from contextlib import suppress
from typing import Final

__all__ = ["Arena"]

_WORTH_THE_GIL_BYTES: Final = 256 * 1024  # to get it back would take longer than to copy less


class Arena:
    """A private mapping; its pages become resident as they are first used. Any thread."""

    def __init__(self, size: int) -> None:
        """Map `size` bytes.

        Raises:
            OSError: the system does not grant them.
        """
        # Private, since anonymous shared memory would be accounted as a file's (shmem).
        self._memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        with suppress(OSError):  # a kernel without transparent huge pages; they would make resident what nobody uses
            self._memory.madvise(mmap.MADV_NOHUGEPAGE)
        self._view = memoryview(self._memory)
        self._address = _address(self._view)

    def put(self, position: int, view: memoryview) -> None:
        """Copy `view` to `position`."""
        length = len(view)
        if not 0 <= position <= len(self._view) - length:
            raise IndexError(f"[{position}, {position + length}) is not in a mapping of {len(self._view)} bytes")
        if length < _WORTH_THE_GIL_BYTES or view.readonly or not view.c_contiguous:
            self._view[position : position + length] = view
        else:
            ctypes.memmove(self._address + position, _address(view), length)

    def view(self, position: int, length: int) -> memoryview:
        """The bytes themselves."""
        return self._view[position : position + length]

    def get(self, position: int, view: memoryview) -> None:
        """Fill `view` from `position`."""
        length = len(view)
        if not 0 <= position <= len(self._view) - length:
            raise IndexError(f"[{position}, {position + length}) is not in a mapping of {len(self._view)} bytes")
        if length < _WORTH_THE_GIL_BYTES or not view.c_contiguous:
            view[:] = self._view[position : position + length]
        else:
            ctypes.memmove(_address(view), self._address + position, length)


def _address(view: memoryview) -> int:
    """Where its first byte is; valid as long as the view is."""
    return ctypes.addressof(ctypes.c_char.from_buffer(view))
