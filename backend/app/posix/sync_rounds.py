"""fsync and fdatasync, shared by those who ask at the same time.

Laws: a caller returns only after a sync that began after it asked; one sync of a target runs at a time, and whoever
asks while it runs shares the next. A failed sync fails everybody it was for and is not repeated for them: the kernel
reports a lost page once per descriptor, so a second sync would succeed and prove nothing (fsync(2), NOTES).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import Condition, Lock

__all__ = ["DirectorySync", "SyncRounds"]


class SyncRounds:
    """Syncs of one target, counted from 1. Any thread."""

    __slots__ = ("_begun", "_changed", "_ended", "_failed", "_failure")

    def __init__(self) -> None:
        """Start with none begun."""
        self._changed = Condition()
        self._begun = 0
        self._ended = 0
        self._failed = 0  # the latest round that failed; a waiter of an earlier one counts itself in
        self._failure: OSError | None = None

    def share(self, sync: Callable[[], None]) -> None:
        """Return once a `sync` that began after this call has succeeded, ours or another caller's. Blocking.

        Raises:
            OSError: it failed.
        """
        with self._changed:
            mine = self._begun + 1
            while self._begun < mine and self._begun != self._ended:
                self._changed.wait()
            if self._begun >= mine:
                self._await_round(mine)
                return
            self._begun = mine
        failure: OSError | None = None
        try:
            sync()
        except OSError as exc:
            failure = exc
            raise
        finally:
            with self._changed:
                self._ended = mine
                if failure is not None:
                    self._failed, self._failure = mine, failure
                self._changed.notify_all()

    def _await_round(self, number: int) -> None:
        while self._ended < number:
            self._changed.wait()
        if self._failure is not None and number <= self._failed:
            raise OSError(self._failure.errno, self._failure.strerror) from self._failure


class DirectorySync:
    """Makes directory entries durable, grouped per directory. Any thread."""

    def __init__(self) -> None:
        """Start with none under way."""
        self._lock = Lock()
        self._directories: dict[tuple[int, int], tuple[SyncRounds, int]] = {}

    def sync(self, directory: int) -> None:
        """Make the entries of the open directory durable. Blocking.

        Raises:
            OSError: the sync failed.
        """
        status = os.fstat(directory)
        key = (status.st_dev, status.st_ino)
        with self._lock:
            rounds, users = self._directories.get(key) or (SyncRounds(), 0)
            self._directories[key] = (rounds, users + 1)
        try:
            rounds.share(lambda: os.fsync(directory))
        finally:
            with self._lock:
                users = self._directories[key][1] - 1
                if users:
                    self._directories[key] = (rounds, users)
                else:
                    del self._directories[key]
