"""Begins to write what was received to the disk, in a thread of its own.

So that the sync at the end does not wait for the whole file. The system call waits itself while the disk's queue is
full (sync_file_range(2), NOTES), which would hold a thread that receives: half of the receiving rate on a slow disk.

Law: a hint, for which nobody waits; but when it fails the place is damaged, and its next sync says so.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from app.core.errors import StagingUnavailable
from app.posix.calls import start_writeback
from app.staging.spool.places import PlaceTable

__all__ = ["WriteBack"]


class WriteBack:
    """One thread, ranges in the order in which they were written."""

    def __init__(self, places: PlaceTable) -> None:
        """Start idle; the thread begins with the first range."""
        self._places = places
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="write-back")

    def begin(self, upload_id: str, offset: int, length: int) -> None:
        """Queue a range of bytes. Does not block."""
        self._executor.submit(self._begin, upload_id, offset, length)

    def close(self) -> None:
        """Forget what is queued and wait for what runs. Blocking."""
        self._executor.shutdown(cancel_futures=True)

    def _begin(self, upload_id: str, offset: int, length: int) -> None:
        with suppress(StagingUnavailable), self._places.using(upload_id) as place:  # it may have been discarded
            try:
                start_writeback(place.fd, offset, length)
            except OSError:
                place.damaged = True
