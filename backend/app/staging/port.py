"""The staging port.

Laws: an upload's bytes live here from reservation to discard; `open_writer` writers of one upload never overlap (the
caller's duty); methods without `async` block and run in worker threads; errors are of `app.core.errors` only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from enum import Enum, auto
from pathlib import Path
from typing import Protocol, runtime_checkable

from app.core.upload import Extent

__all__ = [
    "Copying",
    "Durability",
    "Linkable",
    "Room",
    "SpaceReport",
    "Staging",
    "StagingWriter",
    "Viewable",
    "Windowed",
]


class SpaceReport(Protocol):
    """Bytes of room, for status and metrics."""

    @property
    def total_bytes(self) -> int:
        """Size of the volume."""

    @property
    def free_bytes(self) -> int:
        """What a new upload could have."""

    @property
    def reserved_bytes(self) -> int:
        """What uploads under way have set aside."""


class Durability(Enum):
    """What of a finished extent survives a power cut when `StagingWriter.finish` returns."""

    BEGUN = auto()  # nothing for certain; write-back has begun
    BYTES = auto()  # the bytes, if the upload's place does: for who gives them another, durable name
    ALL = auto()  # bytes and place


class StagingWriter(Protocol):
    """Takes one extent's bytes in order. Blocking; used by one thread at a time; always closed by its opener."""

    @property
    def position(self) -> int:
        """Absolute offset of the next byte."""

    def write(self, view: memoryview) -> None:
        """Store all of `view` at `position`; a short write is continued, EINTR repeated.

        Raises:
            OutOfSpace: no room (ENOSPC, EDQUOT).
            StagingUnavailable: any other failure; the caller may call again with the same view: position is unmoved.
        """

    def finish(self, durability: Durability) -> None:
        """Everything is written: see to its durability.

        Raises:
            StagingUnavailable: the sync failed; what was written can't be trusted (never retried: the kernel drops
                the error with the first report).
        """

    def close(self) -> None:
        """Give the descriptor back; idempotent. Bytes written and not recorded are as good as never sent."""


class Staging(Protocol):
    """Bytes of uploads under way."""

    async def reserve(self, upload_id: str, owner: str, size: int) -> None:
        """Set `size` bytes aside and make the (empty, sparse) place; exact under concurrency.

        Raises:
            OutOfSpace: the volume, less what others have reserved and the margin, has no room; or no inode.
            UserQuotaExceeded: the owner's reservations would pass the per-user cap.
            StagingUnavailable: the area can't be written.
        """

    async def adopt(self, upload_id: str, owner: str, size: int, recorded: Sequence[Extent]) -> list[Extent] | None:
        """At start: take up the place of an upload known from the database; None when there is none any more.

        Returns those of `recorded` that can be there: a file that a power cut left short has lost the others.
        """

    async def release_room(self, upload_id: str) -> None:
        """The upload is idle: give up the room for bytes that have not come (what is recorded stays)."""

    async def regain_room(self, upload_id: str) -> None:
        """The idle upload is active again; raises as `reserve`. No effect when its room was never released."""

    async def resize(self, upload_id: str, size: int) -> None:
        """Set aside `size` bytes for an upload that had more or fewer; what was written beyond them is cut off.

        Nobody writes meanwhile. Raises as `reserve`; then what was written is there, and perhaps no room for more.
        """

    def open_writer(self, upload_id: str, offset: int) -> StagingWriter:
        """A writer at `offset`. Blocking. Raises StagingUnavailable."""

    def read_into(self, upload_id: str, offset: int, view: memoryview) -> int:
        """Fill `view` from `offset`; returns the bytes read (short only at the file's end). Blocking.

        Raises:
            StagingUnavailable: the bytes can't be read.
        """

    async def sync(self, upload_id: str) -> None:
        """Everything written, and the directory entry, survive a power cut when this returns.

        Raises:
            StagingUnavailable: the sync failed; not to be retried: the bytes can't be trusted.
        """

    def drop_cache(self, upload_id: str, offset: int, length: int) -> None:
        """These bytes won't be read again soon: let the page cache go. A hint. Blocking."""

    async def discard(self, upload_id: str) -> None:
        """Remove the bytes and give all room back; idempotent, also for what is unknown."""

    async def ids(self) -> list[str]:
        """Ids that have a place here, known or orphaned."""

    async def space(self) -> SpaceReport:
        """How much room there is."""


class Copying(Staging, Protocol):
    """A staging that makes an upload out of others without anybody reading them."""

    async def copy(self, source_id: str, offset: int, length: int, target_id: str, position: int) -> None:
        """Put `length` bytes of one upload, from `offset`, into another at `position`.

        Raises:
            OutOfSpace: no room.
            SyncFailed: the first one has lost bytes.
            StagingUnavailable: any other failure; how much was copied is not known.
        """


@runtime_checkable
class Linkable(Protocol):
    """A staging whose upload is a file that a destination on the same file system can take over by `link`."""

    def path(self, upload_id: str) -> Path:
        """The file that holds the upload's bytes."""


class Room(Protocol):
    """Room for one extent, on loan to whoever receives it, or waits for its acknowledgement. Event loop only."""

    def keep(self, end: int | None = None) -> None:
        """The extent is whole, or ends at `end`: its bytes stay, also when this is released, until they are confirmed.

        Raises:
            RoomLost: they were given up meanwhile.
        """

    def release(self) -> None:
        """Give back what was not kept; idempotent. No writer of the extent is open any more."""


@runtime_checkable
class Windowed(Protocol):
    """A staging that holds a bounded window of each upload, and loses what it holds with the process.

    A writer needs room. The window begins at the first byte that is not confirmed; what is admitted anywhere in it has the
    room for all that comes before it, so whoever waits for the next bytes in order never waits for those behind them.
    Extents whose room nobody holds, and behind a gap, are given up when others need their room. Event loop only.
    """

    on_given_up: Callable[[str, int], None]
    """Told of an upload that from this offset on nothing is held any more."""

    @property
    def window_bytes(self) -> int:
        """How far an extent may end behind the first byte that is not confirmed."""

    async def room(self, upload_id: str, offset: int, length: int) -> Room:
        """Room for an extent, or for one that is kept; waits in turns. Cancelling it loses nothing.

        Raises:
            PoolExhausted: none in time.
            RoomLost: everything was asked for again meanwhile.
            StagingUnavailable: the upload has no place (any more).
        """

    def held_from(self, upload_id: str) -> int:
        """The first byte that is not confirmed: what comes before it can't be read again."""

    def confirm(self, upload_id: str, position: int) -> None:
        """The destination has the bytes before `position`: give back the room of those kept extents that end there."""

    def empty(self, upload_id: str, start: int = 0) -> None:
        """Nothing counts any more that was written; the window begins at `start`.

        Writers and rooms of before are void, those that are waited for too.
        """


@runtime_checkable
class Viewable(Protocol):
    """A staging whose bytes can be read where they are."""

    def pinned(self, upload_id: str) -> AbstractContextManager[None]:
        """What is viewed inside stays as it is, also when it is given up meanwhile.

        Raises:
            StagingUnavailable: the upload has no place.
        """

    def view(self, upload_id: str, offset: int, length: int) -> memoryview:
        """Of the bytes from `offset` as many as lie together; none where they can't be read. Any thread.

        Raises:
            StagingUnavailable: the upload has no place (any more).
        """
