"""The destination port.

Laws: nothing is visible under the final name before `finish` (or `take_over`) has succeeded, and then all of it is;
both are idempotent for the same upload: after a crash in the middle they find their own success. An adapter does not
retry (that is its caller's business) and raises only errors of `app.core.errors`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from app.core.errors import ForebayError
from app.core.upload import NameConflictPolicy, StoredFile

__all__ = [
    "Abilities",
    "Advises",
    "Destination",
    "Digests",
    "KeepsInformed",
    "KeepsValues",
    "Reports",
    "ServesFiles",
    "Source",
    "TakesOver",
    "Target",
    "TransferSession",
]


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a destination can do; all sizes in bytes."""

    parallel_parts: bool = False
    transfers: int = 8  # at once, where the operator says nothing
    min_part_bytes: int = 0
    max_part_bytes: int | None = None
    part_multiple_bytes: int = 1
    last_with_finish: bool = False
    """What arrives last publishes the file there: it is not appended, `finish` sends it when all has been looked at."""
    native_digests: frozenset[str] = frozenset()

    def sendable(self, size: int, received: int) -> int:
        """How far a file of `size` bytes can be appended when its first `received` bytes are there."""
        if received == size and not self.last_with_finish:
            return size
        return max(0, min(received, size - 1)) // self.part_multiple_bytes * self.part_multiple_bytes


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be stored, and as what."""

    upload_id: str
    folder: str  # relative, validated, "" for the root
    filename: str
    media_type: str
    size: int
    on_conflict: NameConflictPolicy
    length_deferred: bool = False
    """Nobody has said the size yet: `size` is the most that it may become. See `TransferSession.declare`."""


@dataclass(frozen=True, slots=True)
class Digests:
    """What we computed over the staged bytes, in order."""

    sha256: str
    crc32c: int


class Source(Protocol):
    """The staged bytes of an upload of which everything is received and verified."""

    def pieces(self, start: int) -> AbstractAsyncContextManager[AsyncIterator[memoryview]]:
        """The bytes from `start` to the file's end, in order; a piece is valid until the next one is asked for.

        Raises:
            StagingUnavailable: they can't be read, or are no longer there.
        """


class TransferSession(Protocol):
    """One file on its way. Closed by `finish` or `abort`, or left for a later `begin` with its `state`.

    Used by one task at a time. A cancelled call leaves the session usable: it asks the destination where it stands.
    """

    @property
    def state(self) -> str:
        """What `begin` needs to go on after a crash; opaque, holds no secret in the clear, may change with each call."""

    @property
    def committed(self) -> int:
        """Bytes, from the first, that the destination is known to hold."""

    def declare(self, size: int) -> None:
        """The file's size, where the target's length is deferred: before `finish`, and as often as the caller likes."""

    async def append(self, pieces: AsyncIterator[memoryview], length: int) -> int:
        """Send `length` bytes in order; returns the new `committed`, which may be less.

        Args:
            pieces: they start at `committed`; each is valid until the next one is asked for. They may end early, where
                nothing comes any more: then what was sent is what counts.
            length: bytes announced; `committed + length` is what `Abilities.sendable` has said for some prefix.

        Raises:
            DestinationUnavailable: it failed; ask `committed` (it may be less than before) and go on from there.
            OutOfSpace: the destination is full.
        """

    async def finish(self, digests: Digests, source: Source) -> StoredFile:
        """Send what is left, publish the file under its final name, durably, and compare what is stored.

        Raises:
            NameTaken: policy `fail`, and the name exists.
            DestinationMismatch: the destination holds other bytes; what was sent is removed, begin anew.
            DestinationUnavailable: try again.
        """

    async def abort(self) -> None:
        """Remove what was sent, also where `finish` has published it already; idempotent."""


class Destination(Protocol):
    """A place for files."""

    @property
    def abilities(self) -> Abilities:
        """What it can do."""

    async def check(self) -> None:
        """Raise when files can't be stored now (for start-up, readiness and `doctor`)."""

    async def begin(self, target: Target, saved: str | None) -> TransferSession:
        """Open a session, or go on with the one whose `state` was saved; the caller saves `state` before it appends."""

    async def aclose(self) -> None:
        """Let go of connections."""


@runtime_checkable
class TakesOver(Protocol):
    """A destination on a file system, able to take a finished file by `link` instead of a copy."""

    def can_take_over(self, source: Path) -> bool:
        """Whether `source` lies on the same file system. Blocking."""

    async def take_over(self, target: Target, source: Path, digests: Digests) -> StoredFile:
        """Link the synced `source` to its final name, durably; raises as `TransferSession.finish`."""

    async def take_back(self, stored_id: str, source: Path) -> None:
        """Remove the name that `take_over` has given, if it is still that of `source`; idempotent."""


@runtime_checkable
class Reports(Protocol):
    """A destination that can say how it is, without asking anybody."""

    def report(self) -> Any:  # noqa: ANN401 - a dataclass of its own
        """Numbers and flags, without secrets: a dataclass."""


@runtime_checkable
class KeepsInformed(Protocol):
    """A destination whose report tells what it has to ask for."""

    async def keep_informed(self) -> None:
        """Ask, and again now and then, until it is cancelled; where there is no answer, the report goes without."""


@runtime_checkable
class Advises(Protocol):
    """A destination that knows what its operator can do."""

    def advice(self, exc: ForebayError) -> str:
        """About an error of its own, beyond what its message says: one sentence; "" where the message says it all."""


@runtime_checkable
class ServesFiles(Protocol):
    """A destination whose files can be read back and removed."""

    def open_range(
        self, stored_id: str, start: int, end: int, *, size: int
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """The bytes `[start, end)` of a stored file of `size` bytes: all of them, or an error.

        Raises:
            NotFound: it is gone.
            DestinationUnavailable: not now; or it has another size by now, so it is not the file that was stored.
        """

    async def delete(self, stored_id: str) -> None:
        """Remove a stored file; idempotent."""


class KeepsValues(Protocol):
    """Where a destination keeps what must outlive the process: a ledger, say. No secrets in the clear."""

    async def get(self, key: str) -> str | None:
        """The value of that key.

        Raises:
            DatabaseUnavailable: not now.
        """

    async def set(self, key: str, value: str) -> None:
        """Set or replace a value.

        Raises:
            DatabaseUnavailable: not now.
        """
