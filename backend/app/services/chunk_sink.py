"""Where a chunk's bytes go, in a worker thread: checksum, then staging.

Laws: called by one thread at a time, in order; opened by its first bytes and finished by its last, so that a chunk costs
no thread hop of its own, nor does a piece of one (`CheckpointedSink`); `close` is called by the owner when no thread uses
it any more.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

import crc32c

from app.core.errors import ChunkFailed, DigestMismatch, RoomLost, StagingUnavailable, SyncFailed
from app.core.upload import KIB, Chunk, Extent
from app.protocols.digest import DeclaredDigest
from app.services.where_time_goes import ThreadTime
from app.staging.port import Durability, Staging, StagingWriter

__all__ = ["CheckpointedSink", "ChecksumSink", "StagingSink"]

_WORTH_THE_GIL_BYTES = 256 * KIB
_CHECKPOINT_S = 1.0
_LEAST_CHECKPOINT_BYTES = 256 * KIB
_LEAST_AT_REST_BYTES = 4 * KIB
_SHARE = 4096
_RETRY_PAUSE_S = 0.05  # doubled with each attempt; a worker thread waits, so it is short


class ChecksumSink:
    """Computes what is needed to judge the bytes, and discards them: for a repeat of a recorded chunk."""

    def __init__(self, chunk: Chunk, declared: DeclaredDigest, *, always_sha256: bool = False) -> None:
        """Nothing yet; SHA-256 only when declared or asked for."""
        self.chunk = chunk  # or what was not cut off of it
        self._declared = declared
        self._sha256 = hashlib.sha256() if always_sha256 or declared.sha256 is not None else None
        self._crc = 0
        self.position = chunk.offset  # of the next byte, in the file
        self.storing = ThreadTime()

    def __call__(self, view: memoryview) -> None:
        """Take the next bytes."""
        # For a small piece, to get the GIL back would take longer than the checksum.
        self._crc = crc32c.crc32c(view, self._crc, gil_release_mode=int(len(view) >= _WORTH_THE_GIL_BYTES))
        if self._sha256 is not None:
            self._sha256.update(view)
        self.position += len(view)

    def close(self) -> None:
        """Nothing is held."""

    @property
    def received(self) -> int:
        """Bytes so far."""
        return self.position - self.chunk.offset

    @property
    def whole(self) -> bool:
        """Whether all of the chunk, or of what was not cut off of it, has come."""
        return self.position == self.chunk.end

    def hasher(self) -> hashlib._Hash:
        """SHA-256 of the bytes so far, where it was asked for."""
        if self._sha256 is None:
            raise RuntimeError("SHA-256 was not asked for")
        return self._sha256

    def extent(self) -> Extent:
        """What came, whole and as declared.

        Raises:
            DigestMismatch: not the bytes that the client says it sent.
        """
        crc_differs = self._declared.crc32c is not None and self._declared.crc32c != self._crc
        sha_differs = self._declared.sha256 is not None and self.hasher().digest() != self._declared.sha256
        if crc_differs or sha_differs:
            raise DigestMismatch(chunk=self.chunk.number)
        return Extent(self.chunk.offset, self.received, self._crc)


class StagingSink(ChecksumSink):
    """Stores the bytes as well; retries what may pass."""

    def __init__(
        self,
        chunk: Chunk,
        declared: DeclaredDigest,
        *,
        staging: Staging,
        upload_id: str,
        attempts: int,
        durability: Durability,
        on_retry: Callable[[int, StagingUnavailable], None],
        always_sha256: bool = False,
    ) -> None:
        """Nothing is opened before the first bytes."""
        super().__init__(chunk, declared, always_sha256=always_sha256)
        self._staging = staging
        self._upload_id = upload_id
        self._attempts = attempts
        self._durability = durability
        self._on_retry = on_retry
        self._writer: StagingWriter | None = None

    def __call__(self, view: memoryview) -> None:
        """Checksum while the bytes are in the processor's cache, then write."""
        super().__call__(view)
        self.storing.begin()
        try:
            self._store(view)
            if self.whole:
                self.finish()
        finally:
            self.storing.end()

    def _store(self, view: memoryview) -> None:
        for attempt in range(1, self._attempts + 1):
            try:
                if self._writer is None:
                    self._writer = self._staging.open_writer(self._upload_id, self.chunk.offset)
                self._writer.write(view)
            except (RoomLost, SyncFailed):
                raise  # what came before is gone: trying again would hide it
            except StagingUnavailable as exc:
                if attempt == self._attempts:
                    raise ChunkFailed(self.chunk.number, attempt) from exc
                self._on_retry(attempt, exc)
                time.sleep(_RETRY_PAUSE_S * 2 ** (attempt - 1))
            else:
                return

    def finish(self) -> None:
        """Nothing more comes: what came is an extent. Blocks where it is to be durable."""
        if self._writer is not None:
            self._writer.finish(self._durability)

    def cut(self, number: int) -> Extent:
        """What came is an extent, of a chunk of which no digest is declared; what follows is another one, of chunk `number`.

        Blocks as `finish`.
        """
        self.storing.begin()
        try:
            self.finish()
            self.close()
        finally:
            self.storing.end()
        extent = self.extent()
        self._writer = None
        self._crc = 0
        self.chunk = Chunk(number, extent.end, self.chunk.end - extent.end)
        return extent

    def close(self) -> None:
        """Give the writer back."""
        if self._writer is not None:
            self._writer.close()


class CheckpointedSink:
    """Stores, and cuts off what came every second, so that little is lost with the server; and when its client rests.

    Each piece is a row of the database. So none is cut from what still comes for less than 256 KiB, nor for less than a
    4096th of the file so far; at a rest for less than 4 KiB, nor for less than a 4096th or 256 KiB. However slowly a file
    comes, there are some ten thousands of them. What comes last is left to whoever sees the end.
    """

    def __init__(
        self,
        sink: StagingSink,
        chunk_size: int,
        on_piece: Callable[[Extent], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Cut what goes into `sink`, which may be several chunks of `chunk_size` bytes; `on_piece` is called in the thread."""
        self._sink = sink
        self._chunk_size = chunk_size
        self._on_piece = on_piece
        self._clock = clock
        self._due = clock() + _CHECKPOINT_S

    def __call__(self, view: memoryview) -> None:
        """Take the next bytes."""
        self._sink(view)
        enough = self._sink.received >= max(_LEAST_CHECKPOINT_BYTES, self._sink.position // _SHARE)
        if enough and self._clock() >= self._due:
            self._cut()

    def rest(self) -> None:
        """Nothing comes for a while: there may be no more before this is recorded."""
        share = min(self._sink.position // _SHARE, _LEAST_CHECKPOINT_BYTES)
        if self._sink.received >= max(_LEAST_AT_REST_BYTES, share):
            self._cut()

    def _cut(self) -> None:
        if not self._sink.whole:
            self._on_piece(self._sink.cut(self._sink.position // self._chunk_size))
            self._due = self._clock() + _CHECKPOINT_S
