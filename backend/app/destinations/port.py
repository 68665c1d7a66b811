"""The destination port.

Laws: nothing is visible under the final name before `finish` (or `take_over`) has succeeded, and then all of it is;
both are idempotent for the same upload: after a crash in the middle they find their own success. An adapter never
retries (that is a wrapper's business) and raises only errors of `app.core.errors`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from app.core.upload import NameConflictPolicy, StoredFile

__all__ = ["Abilities", "Destination", "Digests", "ServesFiles", "TakesOver", "Target", "TransferSession"]


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a destination can do; all sizes in bytes."""

    parallel_parts: bool = False
    min_part_bytes: int = 0
    max_part_bytes: int | None = None
    part_multiple_bytes: int = 1
    native_digests: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be stored, and as what."""

    upload_id: str
    folder: str  # relative, validated, "" for the root
    filename: str
    media_type: str
    size: int
    on_conflict: NameConflictPolicy


@dataclass(frozen=True, slots=True)
class Digests:
    """What we computed over the staged bytes, in order."""

    sha256: str
    crc32c: int


class TransferSession(Protocol):
    """One file on its way. Closed by `finish` or `abort`, or left for a later `begin` with its `state`."""

    @property
    def state(self) -> str:
        """What `begin` needs to go on after a crash; opaque, may hold secrets, stored as it is."""

    @property
    def committed(self) -> int:
        """Bytes, from the first, that the destination is known to hold."""

    async def append(self, pieces: AsyncIterator[memoryview]) -> int:
        """Send the pieces, which start at `committed`, in order; returns the new `committed`, which may be less.

        A piece is valid until the next one is asked for.

        Raises:
            DestinationUnavailable: it failed; ask `committed` and go on from there.
            OutOfSpace: the destination is full.
        """

    async def finish(self, digests: Digests) -> StoredFile:
        """Publish the file under its final name, durably.

        Raises:
            NameTaken: policy `fail`, and the name exists.
            DigestMismatch: the destination holds other bytes; nothing is published.
            DestinationUnavailable: try again.
        """

    async def abort(self) -> None:
        """Remove what was sent; idempotent."""


class Destination(Protocol):
    """A place for files."""

    @property
    def abilities(self) -> Abilities:
        """What it can do."""

    async def check(self) -> None:
        """Raise when files can't be stored now (for start-up, readiness and `doctor`)."""

    async def begin(self, target: Target, saved: str | None) -> TransferSession:
        """Open a session, or go on with the one whose `state` was saved."""

    async def aclose(self) -> None:
        """Let go of connections."""


@runtime_checkable
class TakesOver(Protocol):
    """A destination on a file system, able to take a finished file by `link` instead of a copy."""

    def can_take_over(self, source: Path) -> bool:
        """Whether `source` lies on the same file system. Blocking."""

    async def take_over(self, target: Target, source: Path, digests: Digests) -> StoredFile:
        """Link the synced `source` to its final name, durably; raises as `TransferSession.finish`."""


@runtime_checkable
class ServesFiles(Protocol):
    """A destination whose files can be read back and removed."""

    def open_range(self, stored_id: str, start: int, end: int) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """The bytes `[start, end)` of a stored file; raises NotFound when it is gone."""

    async def delete(self, stored_id: str) -> None:
        """Remove a stored file; idempotent."""
