"""Open descriptors of the spool's files.

Laws:
- An upload has at most one descriptor, shared by all who write or read it. So an error of write-back, which the
  kernel reports once per descriptor and forgets with the last one, is seen by the sync that matters.
- It is closed only when nobody uses it and nothing written through it is unsynced (or the upload is gone).
- A failed sync makes the place damaged for good: every later sync or writer of it fails.
- The table's lock is held for bookkeeping only, never over a system call that can wait for a disk. A place's own
  lock covers opening, and the making of its rounds of syncs.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Condition, Lock
from typing import Final

from app.core.errors import StagingUnavailable, SyncFailed
from app.posix.sync_rounds import SyncRounds
from app.staging.spool.faults import system_faults

__all__ = ["Place", "PlaceTable"]

_CLOSED: Final = -1
_TOO_MANY_OPEN: Final = frozenset({errno.EMFILE, errno.ENFILE})


class Place:
    """One upload's file."""

    __slots__ = (
        "_rounds",
        "damaged",
        "entry_durable",
        "fd",
        "gone",
        "opening",
        "quiet",
        "unsynced",
        "users",
        "writers",
        "writing",
    )

    def __init__(self, *, entry_durable: bool = False) -> None:
        """Start closed.

        Args:
            entry_durable: whether the file's name is known to survive a power cut.
        """
        self.fd = _CLOSED
        self.opening = Lock()  # what is made with the first use
        # The kernel lets one thread write to a file at a time, and those who wait there spin on a processor that the
        # others need (rwsem): 0.79 instead of 0.75 seconds of processors for a GiB of chunks of one file.
        self.writing = Lock()
        self.users = 0  # of the descriptor, writers included
        self.writers = 0
        self.quiet = False  # somebody rearranges the blocks: writers wait
        self.unsynced = False
        self.damaged = False
        self.gone = False
        self.entry_durable = entry_durable
        self._rounds: SyncRounds | None = None  # most are never synced one by one

    def sync_data(self) -> None:
        """Make what was written before this call durable; concurrent callers share a sync.

        Raises:
            OSError: it failed, now or before.
        """
        with self.opening:
            rounds = self._rounds = self._rounds or SyncRounds()
        rounds.share(self._sync_once)

    def _sync_once(self) -> None:
        if self.damaged:
            raise OSError(errno.EIO, "an earlier sync failed")
        self.unsynced = False  # before the call: a write during it is not covered
        try:
            os.fdatasync(self.fd)
        except OSError:
            self.damaged = True
            raise


class PlaceTable:
    """All uploads' files. Blocking; any thread."""

    def __init__(self, open_file: Callable[[str], int], *, max_open: int) -> None:
        """Start empty.

        Args:
            open_file: opens an upload's file for reading and writing, without creating it.
            max_open: descriptors that may stay open unused; those in use come on top.
        """
        self._open_file = open_file
        self._max_open = max_open
        self._changed = Condition()
        self._places: dict[str, Place] = {}
        self._idle: dict[str, Place] = {}  # open and unused, longest unused first

    def __contains__(self, upload_id: str) -> bool:
        """Whether the upload has a place."""
        return upload_id in self._places

    def add(self, upload_id: str, place: Place, fd: int = _CLOSED) -> None:
        """Take up a place; its file exists, and may be open: whoever writes it first, most often soon, finds it so."""
        with self._changed:
            self._places[upload_id] = place
            if fd != _CLOSED:
                place.fd = fd
                self._idle[upload_id] = place

    def remove(self, upload_id: str) -> None:
        """Forget the place; its descriptor is closed by whoever uses it last."""
        with self._changed:
            place = self._places.pop(upload_id, None)
            self._idle.pop(upload_id, None)
            if place is None:
                return
            place.gone = True
            fd = self._closable(place)
        _close(fd)

    def borrow(self, upload_id: str, *, writing: bool = False) -> Place:
        """The upload's place with its descriptor open, until `give_back`.

        Raises:
            StagingUnavailable: there is no such place, or it can't be opened.
            SyncFailed: it is damaged (writers only).
        """
        with self._changed:
            place = self._known(upload_id)
            while writing and place.quiet:
                self._changed.wait()
            if place.gone:
                place = self._known(upload_id)
            if writing and place.damaged:
                raise SyncFailed
            place.users += 1
            place.writers += writing
            self._idle.pop(upload_id, None)
        try:
            with place.opening, system_faults("open an upload's file"):
                if place.fd == _CLOSED:
                    place.fd = self.opened(lambda: self._open_file(upload_id))
        except BaseException:
            self.give_back(upload_id, place, writing=writing)
            raise
        return place

    def give_back(self, upload_id: str, place: Place, *, writing: bool = False) -> None:
        """End a `borrow`."""
        with self._changed:
            place.users -= 1
            place.writers -= writing
            fd = self._closable(place)
            if not place.users and place.fd != _CLOSED:
                self._idle[upload_id] = place
        _close(fd)

    @contextmanager
    def using(self, upload_id: str) -> Iterator[Place]:
        """Borrow for a block."""
        place = self.borrow(upload_id)
        try:
            yield place
        finally:
            self.give_back(upload_id, place)

    @contextmanager
    def quietly(self, upload_id: str) -> Iterator[Place | None]:
        """Borrow while no writer is there, and keep writers waiting for the block; None when one is there."""
        with self.using(upload_id) as place:
            with self._changed:
                free = not place.writers and not place.quiet
                place.quiet = place.quiet or free
            try:
                yield place if free else None
            finally:
                if free:
                    with self._changed:
                        place.quiet = False
                        self._changed.notify_all()

    def close(self) -> None:
        """Close every unused descriptor, synced or not: the process ends."""
        with self._changed:
            fds = [place.fd for place in self._idle.values()]
            for place in self._idle.values():
                place.fd = _CLOSED
            self._idle.clear()
        for fd in fds:
            os.close(fd)

    def _known(self, upload_id: str) -> Place:
        try:
            return self._places[upload_id]
        except KeyError:
            raise StagingUnavailable("The upload has no place in the staging area.") from None

    def opened(self, open_file: Callable[[], int]) -> int:
        """What `open_file` opens; unused descriptors of ours are closed where there would be too many.

        Raises:
            OSError: what it raises.
        """
        while len(self._idle) >= self._max_open and self._close_one():
            pass
        while True:
            try:
                return open_file()
            except OSError as exc:
                if exc.errno not in _TOO_MANY_OPEN or not self._close_one():
                    raise

    def _close_one(self) -> bool:
        """Sync and close the longest unused descriptor; False when none is unused."""
        with self._changed:
            if not self._idle:
                return False
            upload_id, place = next(iter(self._idle.items()))
            del self._idle[upload_id]
            place.users += 1
        if place.unsynced:
            with suppress(OSError):  # the place is damaged then: whoever needs its bytes is told
                place.sync_data()
        with self._changed:
            place.users -= 1
            fd = _CLOSED
            if not place.users:
                if place.unsynced and not place.damaged and not place.gone:
                    self._idle[upload_id] = place
                else:
                    fd, place.fd = place.fd, _CLOSED
        _close(fd)
        return True

    @staticmethod
    def _closable(place: Place) -> int:
        """Take the descriptor out of a place that is gone and unused; the caller closes it without the lock."""
        if not place.gone or place.users:
            return _CLOSED
        fd, place.fd = place.fd, _CLOSED
        return fd


def _close(fd: int) -> None:
    if fd != _CLOSED:
        os.close(fd)
