"""The upload: what it is, which states it has, how it is cut into chunks.

Laws: every change of state goes through `next_state`; offsets and lengths are bytes; times named `_at` are UTC seconds
since the epoch and for show only; decisions about age use the service clock (`active_at_s`: seconds this server has
been running in all its lives), so that a wall clock that jumps expires nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

from app.core.errors import ChunkOutOfRange, DigestMismatch, ForebayError, NameTaken, RoomLost, StateConflict

__all__ = [
    "IN_ONE_REQUEST",
    "PARTIAL",
    "TERMINAL_STATES",
    "TRANSITIONS",
    "Chunk",
    "ChunkGrid",
    "Completion",
    "Extent",
    "Mode",
    "NameConflictPolicy",
    "StoredFile",
    "Upload",
    "UploadState",
    "choose_chunk_size",
    "next_state",
]

KIB = 1024
MIB = 1024 * KIB
CHUNK_QUANTUM_BYTES = 256 * KIB  # Drive takes multiples of this (developers.google.com/drive/api/guides/manage-uploads)
MIN_CHUNK_BYTES = CHUNK_QUANTUM_BYTES
SEQUENTIAL_CHUNK_BYTES = 4 * MIB
MAX_CHUNK_BYTES = 1024 * MIB
MAX_CHUNKS = 50_000
IN_ONE_REQUEST = "in one request"
"""Instead of a request's fingerprint: see `Upload.in_one_request`."""
_CHUNKS_PER_LANE = 16
_LEAST_WORTH_A_ROUND_TRIP_BYTES = 2 * MIB


PARTIAL = "partial"
"""`Upload-Concat` of an upload that is a part of others."""


class Mode(StrEnum):
    """How chunks are taken: many at once in any order, or one at a time in order."""

    PARALLEL = "parallel"
    SEQUENTIAL = "sequential"


class Completion(StrEnum):
    """What finishes an upload: its last byte, or the client's word."""

    AUTO = "auto"
    EXPLICIT = "explicit"


class NameConflictPolicy(StrEnum):
    """What happens when the destination has a file of that name."""

    RENAME = "rename"
    FAIL = "fail"
    REPLACE = "replace"


class UploadState(StrEnum):
    """Where an upload stands."""

    CREATED = "created"
    RECEIVING = "receiving"
    TRANSFERRING = "transferring"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


TRANSITIONS: dict[UploadState, frozenset[UploadState]] = {
    UploadState.CREATED: frozenset(
        {
            UploadState.RECEIVING,
            UploadState.TRANSFERRING,
            UploadState.FAILED,
            UploadState.CANCELLED,
            UploadState.EXPIRED,
        }
    ),
    UploadState.RECEIVING: frozenset(
        {UploadState.TRANSFERRING, UploadState.FAILED, UploadState.CANCELLED, UploadState.EXPIRED}
    ),
    UploadState.TRANSFERRING: frozenset(
        {UploadState.RECEIVING, UploadState.COMPLETED, UploadState.FAILED, UploadState.CANCELLED}
    ),
    UploadState.COMPLETED: frozenset(),
    UploadState.FAILED: frozenset(),
    UploadState.CANCELLED: frozenset(),
    UploadState.EXPIRED: frozenset(),
}
TERMINAL_STATES = frozenset(state for state, following in TRANSITIONS.items() if not following)


def next_state(present: UploadState, wanted: UploadState) -> UploadState:
    """Return `wanted`.

    Raises:
        StateConflict: when the table has no such step.
    """
    if wanted not in TRANSITIONS[present]:
        msg = f"The upload is {present}; it can't become {wanted}."
        raise StateConflict(msg, state=present.value)
    return wanted


class Extent(NamedTuple):
    """A recorded run of bytes; never written again once recorded."""

    offset: int
    length: int
    crc32c: int

    @property
    def end(self) -> int:
        """First position after it."""
        return self.offset + self.length


class Chunk(NamedTuple):
    """A numbered piece of the file."""

    number: int
    offset: int
    length: int

    @property
    def end(self) -> int:
        """First position after it."""
        return self.offset + self.length


@dataclass(frozen=True, slots=True)
class ChunkGrid:
    """How a file of `size` bytes is cut."""

    size: int
    chunk_size: int

    @property
    def count(self) -> int:
        """Number of chunks; 0 for an empty file."""
        return -(-self.size // self.chunk_size)

    def chunk(self, number: int) -> Chunk:
        """The chunk of that number, from 0.

        Raises:
            ChunkOutOfRange: when there is none.
        """
        if not 0 <= number < self.count:
            msg = f"There is no chunk {number}: this upload has {self.count}, numbered from 0."
            raise ChunkOutOfRange(msg, chunk_count=self.count)
        offset = number * self.chunk_size
        return Chunk(number, offset, min(self.chunk_size, self.size - offset))

    def numbers_of(self, extent: Extent) -> range:
        """The chunks of which it has something; what is appended may come in pieces smaller, or larger, than a chunk."""
        return range(extent.offset // self.chunk_size, -(-extent.end // self.chunk_size))

    def ended_by(self, extent: Extent) -> int:
        """How many chunks have their end in it."""
        last = self.count if extent.end == self.size else extent.end // self.chunk_size
        return last - extent.offset // self.chunk_size


def choose_chunk_size(size: int, *, most: int, lanes: int) -> int:
    """Chunk size in bytes with which a file keeps all lanes busy up to its end; more than `most` only where the count would pass MAX_CHUNKS.

    What is in flight at the end is what a destination that takes bytes in order still has to get when the last one has
    come, so a lane has several chunks; each costs a round trip, so they are not small. Every lane has as many as the
    others: no round is begun for a few (docs/decisions/the-chunk-size-follows-the-file.md).

    Args:
        size: of the file, in bytes.
        most: a chunk may have, in bytes.
        lanes: chunks that are sent at once; with one, there is nothing to share out.
    """
    chosen = most
    if lanes > 1:
        per_lane = _ceil_div(size, lanes)
        wanted = min(most, max(_LEAST_WORTH_A_ROUND_TRIP_BYTES, per_lane // _CHUNKS_PER_LANE))
        chosen = _ceil_div(per_lane, max(1, _ceil_div(per_lane, wanted)))
    least = max(1, _ceil_div(size, MAX_CHUNKS))
    return max(min(most, _whole_quanta(min(chosen, max(size, 1)))), _whole_quanta(least))


def _ceil_div(size: int, parts: int) -> int:
    return -(-size // parts)


def _whole_quanta(size: int) -> int:
    return _ceil_div(size, CHUNK_QUANTUM_BYTES) * CHUNK_QUANTUM_BYTES


@dataclass(frozen=True, slots=True)
class StoredFile:
    """What a destination says it holds."""

    id: str
    name: str
    size: int
    sha256: str | None = None
    crc32c: int | None = None


@dataclass(frozen=True, slots=True)
class Upload:
    """One row of what we know about an upload; immutable, `replace` makes the next."""

    id: str
    owner: str
    filename: str
    folder: str  # relative, "/"-separated, "" for the destination's root
    media_type: str
    size: int
    chunk_size: int
    state: UploadState
    completion: Completion
    on_conflict: NameConflictPolicy
    destination: str  # name of the destination in the settings
    created_at: float
    active_at_s: float
    declared_sha256: str | None = None  # lower-case hex, from the client
    declared_crc32c: int | None = None
    idempotency_key: str | None = None
    request_fingerprint: str | None = None
    transfer_state: str | None = None  # opaque to us, written by the destination's session
    error_code: str | None = None
    error_detail: str | None = None
    received_at: float | None = None
    ended_at: float | None = None
    stored_id: str | None = None
    stored_name: str | None = None
    sha256: str | None = None
    crc32c: int | None = None
    tus_metadata: str | None = None  # `Upload-Metadata` as it came; None where the upload was not begun with tus
    tus_concat: str | None = None  # `Upload-Concat` as it came, where the upload is a part of files or made of such
    retries: str | None = None  # what had to be tried again, as of when the row was written last; None: nothing had to
    length_deferred: bool = False  # the client has not said the size yet; `size` is the most that it may become
    resumable: bool = False  # it has an address under which the IETF's resumable uploads go on

    @property
    def grid(self) -> ChunkGrid:
        """How it is cut."""
        return ChunkGrid(self.size, self.chunk_size)

    @property
    def is_part(self) -> bool:
        """Whether it is no file, but kept to be put together with others."""
        return self.tus_concat == PARTIAL

    @property
    def parts(self) -> tuple[str, ...]:
        """The ids of those that it is made of, in order; none of a file that is received itself."""
        _, _, urls = (self.tus_concat or "").partition(";")
        return tuple(url.rpartition("/")[2] for url in urls.split())

    @property
    def grows_at_its_end(self) -> bool:
        """Whether it is added to by a protocol that knows a position and no chunks."""
        return self.tus_metadata is not None or self.resumable

    @property
    def known_size(self) -> int | None:
        """Of the file; None as long as its client has not said it."""
        return None if self.length_deferred else self.size

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in TERMINAL_STATES

    def expires_in_s(self, expiry_s: float, now_s: float) -> float | None:
        """Service seconds until it is removed unless something comes; None where its age does not end it (any more).

        Args:
            expiry_s: how long one is kept on which nothing moves.
            now_s: on the clock of `active_at_s`.
        """
        if self.ended or self.state is UploadState.TRANSFERRING:
            return None
        return max(0.0, expiry_s - (now_s - self.active_at_s))

    @property
    def in_one_request(self) -> bool:
        """Whether one request brings all of it, piece by piece, and is not repeated for this upload."""
        return self.request_fingerprint == IN_ONE_REQUEST

    @property
    def came_in_one_request(self) -> bool:
        """Whether it was created together with its bytes, so that nobody sends some of them again to this upload."""
        return self.request_fingerprint is not None and ":" in self.request_fingerprint

    @property
    def ending(self) -> ForebayError:
        """Of an upload that has ended without a stored file: what whoever waits for that is told."""
        if self.error_code == NameTaken.code:
            return NameTaken(self.error_detail)
        if self.error_code == DigestMismatch.code:
            return DigestMismatch(self.error_detail)
        if self.error_code == RoomLost.code and self.idempotency_key is None:  # with its key: the same for ever
            return RoomLost(self.error_detail)
        why = f": {self.error_detail}" if self.error_detail else "."
        return StateConflict(f"The upload is {self.state}{why}", state=self.state.value)

    @property
    def takes_no_more(self) -> ForebayError:
        """Of an upload that has ended: what whoever still sends bytes of it is told."""
        if self.error_code == RoomLost.code:
            return RoomLost(self.error_detail)
        return StateConflict(f"The upload is {self.state}.", state=self.state.value)

    def become(self, state: UploadState, **changes: object) -> Upload:
        """A copy in another state.

        Raises:
            StateConflict: when the table of transitions has no such step.
        """
        return replace(self, state=next_state(self.state, state), **changes)  # type: ignore[arg-type]
