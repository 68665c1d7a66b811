"""Begins to write what was received to the disk, in a thread of its own.

So that the sync at the end does not wait for the whole file. The system call waits itself while the disk's queue is
full (sync_file_range(2), NOTES), which would hold a thread that receives: half of the receiving rate on a slow disk.
In rounds, since submitting each chunk while others are still being received takes processor time from them, and larger
ranges suit the disk.

Law: a hint, for which nobody waits; but when it fails the place is damaged, and its next sync says so.
"""

from __future__ import annotations

from contextlib import suppress
from threading import Condition, Thread
from typing import Final

from app.core.errors import StagingUnavailable
from app.posix.calls import start_writeback
from app.staging.spool.places import PlaceTable

__all__ = ["WriteBack"]

ROUND_S: Final = 1.0
"""From a range's arrival to its round; what is still to be written then is a second of the disk's work at most more."""


class WriteBack:
    """One thread, which lives while there is something to do or expected; any thread may call."""

    def __init__(self, places: PlaceTable, *, round_s: float = ROUND_S) -> None:
        """Start idle."""
        self._places = places
        self._round_s = round_s
        self._changed = Condition()
        self._waiting: list[tuple[str, int, int]] = []
        self._thread: Thread | None = None
        self._closed = False

    def begin(self, upload_id: str, offset: int, length: int) -> None:
        """Queue a range of bytes. Does not block."""
        with self._changed:
            self._waiting.append((upload_id, offset, length))
            if self._thread is None and not self._closed:
                self._thread = Thread(target=self._run, name="write-back")
                self._thread.start()

    def close(self) -> None:
        """Forget what is queued and wait for what runs. Blocking; idempotent."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed, self._round_s)
                if self._closed or not self._waiting:
                    self._thread = None
                    return
                ranges, self._waiting = self._waiting, []
            for upload_id, offset, length in ranges:
                if not self._closed:
                    self._write(upload_id, offset, length)

    def _write(self, upload_id: str, offset: int, length: int) -> None:
        with suppress(StagingUnavailable), self._places.using(upload_id) as place:  # it may have been discarded
            try:
                start_writeback(place.fd, offset, length)
            except OSError:
                place.damaged = True
