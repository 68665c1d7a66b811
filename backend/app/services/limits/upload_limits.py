"""What an upload may have, and how it is cut: bounds that the operator sets, and windows that staging may have.

Pure: no state, no I/O.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.core.errors import FileTooLarge
from app.core.sizes import in_units
from app.core.upload import MAX_CHUNKS, MIN_CHUNK_BYTES, SEQUENTIAL_CHUNK_BYTES, Mode, choose_chunk_size

__all__ = ["UploadLimits"]

_ONE_MORE = 1
"""A client with several lanes has one chunk more on its way than it is sending: that which waits for its answer."""


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """Sizes in bytes, ages in service seconds."""

    mode: Mode
    chunk_bytes: int
    max_chunk_bytes: int
    lanes: int
    max_file_bytes: int
    expiry_s: float
    max_pending_per_user: int
    window_bytes: int | None = None  # of an upload in staging at once; None: all of it

    @property
    def single_request_bytes(self) -> int:
        """The largest file that is taken in a single request: one chunk."""
        chunk = SEQUENTIAL_CHUNK_BYTES if self.mode is Mode.SEQUENTIAL else self.chunk_bytes
        return chunk if self.window_bytes is None else min(chunk, self.window_bytes)

    def check_size(self, size: int) -> None:
        """Raise FileTooLarge for a file that is."""
        if size > self.max_file_bytes:
            raise FileTooLarge(f"Files may have up to {in_units(self.max_file_bytes)} here.", limit=self.max_file_bytes)

    def largest(self, chunk_bytes: int) -> int:
        """What a file may become that comes in such chunks and whose size nobody has said."""
        if self.window_bytes is None:
            return self.max_file_bytes
        return min(self.max_file_bytes, MAX_CHUNKS * chunk_bytes)

    def lanes_of(self, chunk_bytes: int) -> int:
        """Chunks of that size that an upload may have in flight."""
        if self.mode is Mode.SEQUENTIAL:
            return 1
        if self.window_bytes is None:
            return self.lanes
        return max(1, min(self.lanes, self.window_bytes // chunk_bytes - _ONE_MORE))

    def chunk_of(self, size: int | None, asked_for: int | None, multiple: int) -> int:
        """Chunk size for a file.

        Args:
            size: of the file; None: not known, and what it may become does not make its chunks larger.
            asked_for: by the client.
            multiple: of what its destination takes at once.

        Raises:
            FileTooLarge: it would take more chunks than there may be, each as large as can be held.
        """
        if asked_for is not None:
            most, lanes = asked_for, 1
        elif self.mode is Mode.SEQUENTIAL:
            most, lanes = SEQUENTIAL_CHUNK_BYTES, 1
        else:
            most, lanes = self.chunk_bytes, self.lanes
        if self.window_bytes is None:
            return most if size is None else choose_chunk_size(size, most=most, lanes=lanes)
        # All lanes have room, and chunks end where what the destination takes at once ends: their room is given back whole.
        step = max(multiple, MIN_CHUNK_BYTES if asked_for is None else 1)
        in_flight = lanes + _ONE_MORE if lanes > 1 else 1
        most = max(MIN_CHUNK_BYTES, step, min(most, self.window_bytes // in_flight) // step * step)
        if size is None:
            return most
        chosen = -(-choose_chunk_size(size, most=most, lanes=lanes) // step) * step
        if chosen > self.window_bytes:
            limit = MAX_CHUNKS * (self.window_bytes // MIN_CHUNK_BYTES * MIN_CHUNK_BYTES)
            raise FileTooLarge(
                f"Files may have up to {in_units(limit)} here: no more fits in memory at once.", limit=limit
            )
        return chosen

    def can_hold(self, chunk_bytes: int, multiple: int) -> bool:
        """Whether an upload in chunks of that size gets on: of one that does not end where `multiple` does, the next is needed."""
        if self.window_bytes is None:
            return True
        return chunk_bytes * (2 if chunk_bytes % multiple else 1) <= self.window_bytes
