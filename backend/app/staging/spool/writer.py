"""Writes one extent."""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import Lock
from typing import Final

from app.core.errors import StagingUnavailable
from app.staging.port import Durability
from app.staging.spool.faults import sync_faults, system_faults
from app.staging.spool.places import Place

__all__ = ["SpoolWriter"]

_AT_ONCE_BYTES: Final = 512 * 1024
"""Of one write. The kernel takes pages for it in blocks as large as the write (large folios, __filemap_get_folio); free
blocks of 2 MiB are what a virtual machine gives back to its host (free page reporting) and pays for again when they are
used. With whole slabs, chunks of one file came at 870 MiB/s and with these at 1890, on the same machine and minute."""

_WRITE_BACK_BYTES: Final = 16 * 1024 * 1024
"""From so many on what was written is on its way to the disk, and not only when the extent is whole: of one over a slow
line, or of many large ones at once, the memory would be full of pages that can't be given back."""


class SpoolWriter:
    """`StagingWriter` of the spool. The lock makes a close from another thread wait for the write it would cut."""

    __slots__ = ("_close", "_lock", "_place", "_position", "_sync", "_write_back", "_written_back")

    def __init__(
        self,
        place: Place,
        offset: int,
        *,
        sync: Callable[[], None],
        write_back: Callable[[int, int], None],
        close: Callable[[], None],
    ) -> None:
        """Write to a borrowed place from `offset` on.

        Args:
            place: the file.
            offset: where the first byte goes.
            sync: makes all that was written, and the file's name, durable.
            write_back: begins to write a range, offset and length, to the disk; does not block.
            close: gives the place back.
        """
        self._place: Place | None = place
        self._written_back = offset  # begun up to there
        self._position = offset
        self._sync = sync
        self._write_back = write_back
        self._close = close
        self._lock = Lock()

    @property
    def position(self) -> int:
        """Absolute offset of the next byte."""
        return self._position

    def write(self, view: memoryview) -> None:
        """Store all of `view` at `position`."""
        with self._lock, system_faults("be written"):
            place = self._opened()
            at = self._position
            rest = view
            while rest:
                with place.writing:
                    written = os.pwrite(place.fd, rest[:_AT_ONCE_BYTES], at)
                if not written:
                    raise StagingUnavailable
                place.unsynced = True  # behind the write: a sync that began before it has not covered it
                at += written
                rest = rest[written:]
            self._position = at
            if at - self._written_back >= _WRITE_BACK_BYTES:
                self._begin_write_back()

    def finish(self, durability: Durability) -> None:
        """Begin to write the rest to the disk, or wait until all is durable."""
        with self._lock, sync_faults():
            place = self._opened()
            if durability is Durability.BEGUN:
                self._begin_write_back()
            elif durability is Durability.BYTES:
                place.sync_data()
            else:
                self._sync()

    def _begin_write_back(self) -> None:
        self._write_back(self._written_back, self._position - self._written_back)
        self._written_back = self._position

    def close(self) -> None:
        """Give the place back."""
        with self._lock:
            if self._place is not None:
                self._place = None
                self._close()

    def _opened(self) -> Place:
        if self._place is None:
            raise StagingUnavailable("The writer was closed.")
        return self._place
